import { behavesLikeADriver } from '../testing-behaviour.ts'
import { openTestDriver } from '../../vms/testing.ts'

behavesLikeADriver(openTestDriver, { killed: 'SIGKILL', sysrq: 'o' })
