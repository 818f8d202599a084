import { looksLikeAddress } from './addresses.ts'

const HOST_NAME = /^(?=.{1,253}$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/

/** Whether this is one exact host by name, in lower case: no address in any notation, no pattern, no trailing dot. */
export function isHostName(text: string): boolean {
  return HOST_NAME.test(text) && !looksLikeAddress(text)
}
