import type { Secret } from '@swarm/core/secret.ts'
import type { Mailer } from '../../ports.ts'

const TIMEOUT_MS = 20_000

/** Sends through an SMTP server: `smtp(s)://user:password@host:port`. TLS is used where the server offers it. */
export function createSmtpMailer(url: Secret, from: string): Mailer {
  return {
    async send({ id, to, subject, text }) {
      // Only once there is a mail: a start should not wait for it.
      const { createTransport } = await import('nodemailer')
      const address = new URL(url.reveal())
      // A server that never answers must not hold the queue.
      for (const name of ['connectionTimeout', 'greetingTimeout', 'socketTimeout']) address.searchParams.set(name, String(TIMEOUT_MS))
      const transport = createTransport(address.href, { from })
      await transport.sendMail({ to, subject, text, messageId: `<${id}@swarm>`, headers: { 'auto-submitted': 'auto-generated' } })
    },
  }
}
