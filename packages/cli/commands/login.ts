import { hostname } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import { createClient, type Client } from '@swarm/contract/client.ts'
import { DEVICE_CLIENT, redeemDeviceCode, requestDeviceCode, showMe } from '@swarm/contract/endpoints/accounts.ts'
import { ApiError } from '@swarm/contract/errors.ts'
import { z } from 'zod'
import { command } from '../command.ts'
import { serverOf } from '../platform/connect.ts'
import { keepCredential } from '../platform/credentials.ts'
import { patientFetch } from '../platform/patient-fetch.ts'

/** Added to the interval whenever the server says that it is asked too often (RFC 8628, 3.5). */
const SLOW_DOWN_MS = 5_000

export const login = command({
  name: 'login',
  summary: 'Signs in by a code that you approve in the browser',
  description: 'The session is kept in credentials.json of the home folder, for that server.',
  examples: [['swarm login', 'at the server of this home folder'], ['swarm login --server https://swarm.example.org', 'at another one']],
  input: z.object({}),
  async run(_, { io, settings, signal }) {
    const { config } = settings()
    const { url } = serverOf(config)
    const client = createClient({ baseUrl: url, fetch: patientFetch })
    const code = await client.call(requestDeviceCode, { body: { clientId: DEVICE_CLIENT } }, { signal })
    io.say(`Open ${io.style('bold', code.verificationUriComplete)}`)
    io.say(`and approve the code ${io.style('bold', code.userCode)}.`)
    io.status('waiting for your approval')
    const { token, expiresAt } = await waitForApproval(client, code, signal)
    io.status(null)
    const me = await createClient({ baseUrl: url, token, fetch: patientFetch }).call(showMe, {}, { signal })
    keepCredential(config.home, url, { token, email: me.email, expiresAt })
    return { json: { server: url, userId: me.id, email: me.email }, text: `You are ${me.name} (${me.email}) at ${url}.` }
  },
})

/** Asks by the interval until somebody has decided. @throws ApiError when it was denied or the code ran out */
async function waitForApproval(client: Client, code: { deviceCode: string; intervalMs: number }, signal: AbortSignal): Promise<{ token: string; expiresAt: number }> {
  for (let intervalMs = code.intervalMs; ;) {
    await delay(intervalMs, undefined, { signal }).catch(() => { throw signal.reason })
    try {
      return await client.call(redeemDeviceCode, { body: { clientId: DEVICE_CLIENT, deviceCode: code.deviceCode } }, { signal, headers: { 'user-agent': `swarm-cli on ${hostname()}` } })
    } catch (error) {
      if (!(error instanceof ApiError) || !['device_pending', 'device_slow_down'].includes(error.code)) throw error
      if (error.code === 'device_slow_down') intervalMs += SLOW_DOWN_MS
    }
  }
}
