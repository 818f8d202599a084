import type { Command } from './command.ts'
import { configShow } from './commands/config/show.ts'
import { demo } from './commands/demo.ts'
import { gate } from './commands/gate.ts'
import { imageBuild } from './commands/image/build.ts'
import { imageList } from './commands/image/list.ts'
import { run } from './commands/run.ts'
import { up } from './commands/up.ts'

/** Every command, in the order of the help. */
export const commands: readonly Command[] = [demo, run, up, gate, imageBuild, imageList, configShow]
