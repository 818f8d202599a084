import { mkdir, open, rename } from 'node:fs/promises'
import { join } from 'node:path'
import type { Mailer } from '../../ports.ts'

/** Writes each mail as `<folder>/<id>.eml` (0600) for whoever has no SMTP server: the administrator hands it on. */
export function createOutbox(folder: string, from: string): Mailer {
  return {
    async send({ id, to, subject, text }) {
      const { createTransport } = await import('nodemailer')
      const transport = createTransport({ streamTransport: true, buffer: true, newline: 'unix' }, { from })
      const { message } = await transport.sendMail({ to, subject, text, messageId: `<${id}@swarm>` })
      await mkdir(folder, { recursive: true, mode: 0o700 })
      const path = join(folder, `${id}.eml`)
      const file = await open(`${path}.new`, 'w', 0o600)
      try {
        await file.writeFile(message as Buffer)
        await file.sync()
      } finally {
        await file.close()
      }
      await rename(`${path}.new`, path)
    },
  }
}
