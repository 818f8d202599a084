import type { Option } from '../../command.ts'

/** Which organisation a command is about. */
export const ORGANIZATION: Option = { flags: '--organization <name>', description: 'the organisation, by id or short name; the first one unless given' }
/** The organisation that an installation begins with. */
export const FIRST_ORGANIZATION = 'default'
