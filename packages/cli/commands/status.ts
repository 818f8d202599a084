import { health, showModel } from '@swarm/contract/endpoints/system.ts'
import { listRunners, listVms } from '@swarm/contract/endpoints/runners.ts'
import { z } from 'zod'
import { command } from '../command.ts'
import { EXIT } from '../exit-codes.ts'
import { duration, time } from '../io.ts'
import { connect } from '../platform/connect.ts'
import { readRunFile } from '../platform/run-file.ts'

export const status = command({
  name: 'status',
  summary: 'Says whether the platform runs, and how it does',
  description: 'Exit code 3 when none runs on this home folder.',
  examples: [['swarm status', 'address, runners, microVMs'], ['swarm status --json', 'the same for programs']],
  input: z.object({}),
  async run(_, { settings, signal }) {
    const { config } = settings()
    if (config.client.server === undefined && readRunFile(config.home) === null) return { json: { running: false, home: config.home }, text: `No platform runs on ${config.home}; "swarm start" starts one.`, exitCode: EXIT.platform }
    const { client, server } = connect(config)
    const [about, { circuits }, { items: runners }, { items: vms }] = await Promise.all([
      client.call(health, {}, { signal }), client.call(showModel, {}, { signal }), client.call(listRunners, { query: { limit: 200 } }, { signal }), client.call(listVms, { query: { state: 'running', limit: 1000 } }, { signal }),
    ])
    return {
      json: { running: true, home: config.home, url: server.url, pid: server.pid, model: server.model, modelCircuits: circuits, version: about.version, database: about.database, uptimeMs: about.uptimeMs, processes: server.processes, runners, vmsRunning: vms.length },
      text: [
        `Swarm ${about.version} at ${server.url}${server.pid === 0 ? '' : ` (process ${server.pid})`}, up for ${duration(about.uptimeMs)}`, `  model      ${server.model === 'rehearsal' ? 'REHEARSAL' : server.model}`, `  database   ${about.database.dialect}, migration ${about.database.migration}`,
        ...server.processes.map(({ name, pid, restarts, lastEnd }) => `  ${name.padEnd(10)} ${pid === 0 ? 'is being started again' : `process ${pid}`}${restarts === 0 ? '' : `, started again ${restarts} time${restarts === 1 ? '' : 's'}`}${lastEnd === null ? '' : ` (last: ${lastEnd})`}`),
        ...circuits.filter((each) => each.state !== 'closed').map((each) => `  overloaded ${each.model}: ${each.state === 'open' ? `next try at ${time(each.nextTryAt)}` : 'one call probes'}, ${each.failures} failures in a row`),
        ...runners.map((runner) => `  runner     ${runner.name}: ${runner.online ? 'online' : 'offline'}, ${runner.driver ?? 'no driver yet'}${runner.isolates === false ? ' (ISOLATES NOTHING)' : ''}${runner.noRoom === null ? '' : `; has room for no further microVM: ${runner.noRoom}`}`), `  microVMs   ${vms.length} running`, `  data       ${config.home}`,
      ].join('\n'),
    }
  },
})
