import type { Migration } from 'kysely/migration'
import * as events from './0000-events.ts'
import * as domain from './0001-domain.ts'
import * as mergeBatches from './0002-merge-batches.ts'
import * as budgets from './0003-budgets.ts'
import * as dispatch from './0004-dispatch.ts'
import * as runnerBoots from './0005-runner-boots.ts'
import * as completeEvents from './0006-complete-events.ts'
import * as evidence from './0007-evidence.ts'
import * as stopCode from './0008-stop-code.ts'
import * as runnerRoom from './0009-runner-room.ts'
import * as vmUsage from './0010-vm-usage.ts'
import * as accounts from './0011-accounts.ts'
import * as secrets from './0012-secrets.ts'
import * as design from './0013-design.ts'
import * as reviews from './0014-reviews.ts'
import * as authorization from './0015-authorization.ts'
import * as approvalTimes from './0016-approval-times.ts'
import * as idempotency from './0017-idempotency.ts'
import * as views from './0018-views.ts'

/** Every migration, by name. A static list: what ships is one bundle, where there is no folder to scan. Never edit one that was released. */
export const MIGRATIONS: Record<string, Migration> = {
  '0000-events': events,
  '0001-domain': domain,
  '0002-merge-batches': mergeBatches,
  '0003-budgets': budgets,
  '0004-dispatch': dispatch,
  '0005-runner-boots': runnerBoots,
  '0006-complete-events': completeEvents,
  '0007-evidence': evidence,
  '0008-stop-code': stopCode,
  '0009-runner-room': runnerRoom,
  '0010-vm-usage': vmUsage,
  '0011-accounts': accounts,
  '0012-secrets': secrets,
  '0013-design': design,
  '0014-reviews': reviews,
  '0015-authorization': authorization,
  '0016-approval-times': approvalTimes,
  '0017-idempotency': idempotency,
  '0018-views': views,
}
