import { listRunners } from '@swarm/contract/endpoints/runners.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { table, time } from '../../io.ts'
import { connect } from '../../platform/connect.ts'
import { all } from '../../run/target.ts'

export const runnerList = command({
  name: 'runner list',
  summary: 'Lists hosts that run microVMs',
  examples: [['swarm runner list', 'with their drivers, and whether they are online']],
  input: z.object({}),
  async run(_, { settings, signal }) {
    const { client } = connect(settings().config)
    const runners = await all((cursor) => client.call(listRunners, { query: { limit: 200, ...cursor } }, { signal }))
    return { json: { runners }, text: table(['id', 'name', 'driver', 'isolates', 'online', 'capacity', 'seen', 'work', 'room'], runners.map((each) => [each.id, each.name, each.driver ?? '-', each.isolates === null ? '-' : each.isolates ? 'yes' : 'NO', each.online ? 'yes' : 'no', each.capacity, time(each.seenAt), each.draining === null ? 'taken' : `drained: ${each.draining.reason}`, each.noRoom === null ? '-' : `for no further microVM: ${each.noRoom}`])) }
  },
})
