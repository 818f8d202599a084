import type { BuildProgress } from '../images/image.ts'
import type { Reporter } from './reporter.ts'

/** What a piece of work waits for before its microVM can start: image, template, layer. Told as a step of the work, when there is any. */
export interface Preparation {
  readonly onProgress: (progress: BuildProgress) => void
  done(): void
}

/** Phases that say that something is made, or waited for, now. */
const TELLING: readonly BuildProgress['phase'][] = ['waiting', 'debian', 'kernel', 'root', 'initramfs', 'template', 'layer']

/** One report for each phase: a build says hundreds of things, and each report is an event that is kept. */
export function reportPreparation(reporter: Reporter): Preparation {
  const startedMs = performance.now()
  let last: BuildProgress['phase'] | null = null
  return {
    onProgress({ phase, detail }) {
      if (phase === last || !TELLING.includes(phase)) return
      last = phase
      reporter.step({ name: 'prepare', state: 'started', detail: `${phase}: ${detail}`.slice(0, 500) })
    },
    done() {
      if (last !== null) reporter.step({ name: 'prepare', state: 'done', wallMs: performance.now() - startedMs })
    },
  }
}
