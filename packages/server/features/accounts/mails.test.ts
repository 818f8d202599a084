import type { AddressInfo } from 'node:net'
import { forgotPassword } from '@swarm/contract/endpoints/accounts.ts'
import PostalMime from 'postal-mime'
import { SMTPServer } from 'smtp-server'
import { expect, test } from 'vitest'
import { eachDialect } from '../../db/testing.ts'
import { startTestServer } from '../../testing.ts'
import { queueMail } from './mails.ts'
import { firstAdmin } from './testing.ts'

interface Received { to: string | undefined; subject: string | undefined; text: string | undefined; messageId: string | undefined }

/** A real SMTP server that asks for a user; `fail`: how many mails it still refuses for now. */
async function startSmtp() {
  const received: Received[] = []
  const state = { fail: 0 }
  const server = new SMTPServer({
    disabledCommands: ['STARTTLS'], authOptional: false, allowInsecureAuth: true,
    onAuth: ({ username, password }, _, callback) => { callback(username === 'swarm' && password === 'pass word' ? null : new Error('no'), { user: username ?? '' }) },
    onData: (stream, _, callback) => {
      const chunks: Buffer[] = []
      stream.on('data', (chunk: Buffer) => { chunks.push(chunk) })
      stream.on('end', () => {
        if (state.fail > 0) {
          state.fail -= 1
          callback(Object.assign(new Error('try later'), { responseCode: 451 }))
          return
        }
        void PostalMime.parse(Buffer.concat(chunks)).then(({ to, subject, text, messageId }) => {
          received.push({ to: to?.[0]?.address, subject, text, messageId })
          callback()
        })
      })
    },
  })
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve) })
  return {
    received, state, url: `smtp://swarm:pass%20word@127.0.0.1:${(server.server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: () => new Promise<void>((resolve) => { server.close(() => { resolve() }) }),
  }
}

eachDialect((_dialect, make) => {
  test('mails go out by SMTP, one that is refused for now is tried again, and one that may have been sent is sent again with the same Message-ID and link', async () => {
    await using place = await make()
    await using smtp = await startSmtp()
    await using server = await startTestServer(place, { settings: { 'mail.smtpUrl': smtp.url } })
    const { db } = server.context
    await firstAdmin(server)
    smtp.state.fail = 1
    await server.as().call(forgotPassword, { body: { email: 'first@example.org' } })
    const mail = () => db.read.selectFrom('mails').selectAll().executeTakeFirstOrThrow()
    await expect.poll(async () => (await mail()).failure).toBe('EMESSAGE 451')
    expect(await mail()).toMatchObject({ state: 'queued', tries: 1 })
    // As when its time has come, and as after a kill between sending and marking.
    const again = () => db.write(async (trx) => {
      await trx.updateTable('mails').set({ state: 'queued', next_try_at: 1 }).execute()
      // Wakes the duty, and goes to nobody.
      await queueMail(trx, { kind: 'password_reset', recipient: 'nobody@example.org', correlationId: 'c', now: Date.now() })
    })
    await again()
    await expect.poll(() => smtp.received.length).toBe(1)
    await expect.poll(async () => (await db.read.selectFrom('mails').selectAll().where('recipient', '=', 'first@example.org').executeTakeFirstOrThrow()).state).toBe('sent')
    await again()
    await expect.poll(() => smtp.received.length).toBe(2)
    expect(smtp.received[1]).toEqual(smtp.received[0])
    expect(smtp.received[0]).toMatchObject({ to: 'first@example.org', subject: 'Choose a new password', messageId: expect.stringMatching(/^<MAI-\w{8}@swarm>$/) as string, text: expect.stringContaining('/reset#token=swarm_reset_') as string })
    expect(JSON.stringify(server.log)).not.toMatch(/pass%20word|pass word/)
  })
})
