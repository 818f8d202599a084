import type { Secret } from '@swarm/core/secret.ts'
import { createTransport } from 'nodemailer'
import type { Mailer } from '../../ports.ts'

const TIMEOUT_MS = 20_000

/** Sends through an SMTP server: `smtp(s)://user:password@host:port`. TLS is used where the server offers it. */
export function createSmtpMailer(url: Secret, from: string): Mailer {
  const transport = createTransport(url.reveal(), { from })
  // A server that never answers must not hold the queue.
  Object.assign(transport.options, { connectionTimeout: TIMEOUT_MS, greetingTimeout: TIMEOUT_MS, socketTimeout: TIMEOUT_MS })
  return {
    async send({ id, to, subject, text }) {
      await transport.sendMail({ to, subject, text, messageId: `<${id}@swarm>`, headers: { 'auto-submitted': 'auto-generated' } })
    },
  }
}
