import { DomainError } from '../errors.ts'

/** A node and the keys that it waits for. Keys of unknown nodes are ignored here; validation names them. */
export interface GraphNode { readonly key: string; readonly dependsOn: readonly string[] }

/**
 * The cycles of a graph, one per knot (strongly connected component), each as its path with the first key again at the end:
 * `['a', 'b', 'a']` means that a waits for b and b waits for a. It starts with the key that comes first in the input.
 */
export function findCycles(nodes: readonly GraphNode[]): string[][] {
  const edges = edgesOf(nodes)
  const component = components(nodes, edges)
  const cycles: string[][] = []
  const done = new Set<number>()
  for (const { key } of nodes) {
    const own = component.get(key)
    if (own === undefined || done.has(own)) continue
    const cycle = shortestCycle(key, edges, (other) => component.get(other) === own)
    if (cycle) {
      done.add(own)
      cycles.push(cycle)
    }
  }
  return cycles
}

/** `a → b → a` */
export function cycleText(cycle: readonly string[]): string {
  return cycle.join(' → ')
}

/**
 * Waves of a graph: the first holds what waits for nothing, each next one what waits for the ones before; input order inside.
 * @throws DomainError dependency_cycle {cycle}
 */
export function wavesOf(nodes: readonly GraphNode[]): string[][] {
  const edges = edgesOf(nodes)
  const left = new Map(nodes.map(({ key }) => [key, (edges.get(key) ?? []).length]))
  const dependents = new Map<string, string[]>()
  for (const [key, targets] of edges) for (const target of targets) dependents.set(target, [...dependents.get(target) ?? [], key])
  const order = new Map(nodes.map(({ key }, index) => [key, index]))
  const waves: string[][] = []
  let wave = [...left].filter(([, count]) => count === 0).map(([key]) => key)
  let placed = 0
  while (wave.length > 0) {
    waves.push(wave)
    placed += wave.length
    const next: string[] = []
    for (const key of wave) {
      for (const dependent of dependents.get(key) ?? []) {
        const count = (left.get(dependent) ?? 0) - 1
        left.set(dependent, count)
        if (count === 0) next.push(dependent)
      }
    }
    wave = next.sort((one, two) => (order.get(one) ?? 0) - (order.get(two) ?? 0))
  }
  if (placed < left.size) throw new DomainError('dependency_cycle', { cycle: findCycles(nodes).map(cycleText).join('; ') })
  return waves
}

/** Known targets only, each once. */
function edgesOf(nodes: readonly GraphNode[]): Map<string, string[]> {
  const known = new Set(nodes.map(({ key }) => key))
  const edges = new Map<string, string[]>()
  for (const { key, dependsOn } of nodes) edges.set(key, [...new Set([...edges.get(key) ?? [], ...dependsOn.filter((target) => known.has(target))])])
  return edges
}

/** Tarjan's components without recursion: a plan of thousands in one chain must not overflow the stack. */
function components(nodes: readonly GraphNode[], edges: ReadonlyMap<string, readonly string[]>): Map<string, number> {
  const index = new Map<string, number>()
  const low = new Map<string, number>()
  const component = new Map<string, number>()
  const open: string[] = []
  let made = 0
  for (const { key: root } of nodes) {
    if (index.has(root)) continue
    const work: { key: string; next: number }[] = [{ key: root, next: 0 }]
    while (work.length > 0) {
      const frame = work.at(-1)
      if (!frame) break
      const { key } = frame
      if (frame.next === 0) {
        index.set(key, index.size)
        low.set(key, index.get(key) ?? 0)
        open.push(key)
      }
      const target = edges.get(key)?.[frame.next++]
      if (target !== undefined) {
        if (!index.has(target)) work.push({ key: target, next: 0 })
        else if (!component.has(target)) low.set(key, Math.min(low.get(key) ?? 0, index.get(target) ?? 0))
        continue
      }
      if (low.get(key) === index.get(key)) {
        for (;;) {
          const member = open.pop()
          if (member === undefined) break
          component.set(member, made)
          if (member === key) break
        }
        made++
      }
      work.pop()
      const above = work.at(-1)
      if (above) low.set(above.key, Math.min(low.get(above.key) ?? 0, low.get(key) ?? 0))
    }
  }
  return component
}

function shortestCycle(start: string, edges: ReadonlyMap<string, readonly string[]>, inside: (key: string) => boolean): string[] | null {
  const cameFrom = new Map<string, string>()
  const queue = [start]
  for (let head = 0; head < queue.length; head++) {
    const key = queue[head] ?? ''
    for (const target of edges.get(key) ?? []) {
      if (target === start) {
        const path = [start]
        for (let at: string | undefined = key; at !== undefined && at !== start; at = cameFrom.get(at)) path.unshift(at)
        return path[0] === start ? [...path] : [start, ...path]
      }
      if (!cameFrom.has(target) && inside(target)) {
        cameFrom.set(target, key)
        queue.push(target)
      }
    }
  }
  return null
}
