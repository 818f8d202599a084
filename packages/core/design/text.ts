/** Bytes of a string as UTF-8. A lone surrogate counts 3, as it does after replacement by U+FFFD. */
export function utf8Bytes(text: string): number {
  let bytes = 0
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index)
    if (unit < 0x80) bytes += 1
    else if (unit < 0x800) bytes += 2
    else if (unit >= 0xd800 && unit < 0xdc00 && isLowSurrogate(text.charCodeAt(index + 1))) {
      bytes += 4
      index++
    } else bytes += 3
  }
  return bytes
}

function isLowSurrogate(unit: number): boolean {
  return unit >= 0xdc00 && unit < 0xe000
}

const BASE32 = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'

/**
 * Six base32 digits that depend on the text alone (FNV-1a, 32 bits, folded to 30). Not a cryptographic digest: it names
 * things for people; whoever uses it as a key resolves collisions.
 */
export function contentDigits(text: string): string {
  let hash = 0x811c9dc5
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index)
    hash = Math.imul(hash ^ (unit & 0xff), 0x01000193)
    hash = Math.imul(hash ^ (unit >> 8), 0x01000193)
  }
  // FNV's low bits mix less than its high ones: fold before taking digits.
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d)
  hash ^= hash >>> 12
  let digits = ''
  for (let shift = 25; shift >= 0; shift -= 5) digits += BASE32[(hash >>> shift) & 31]
  return digits
}

/** Cuts at `limit` characters at most, at a word where one is near, and says so with an ellipsis. */
export function shorten(text: string, limit: number): string {
  if (text.length <= limit) return text
  const cut = text.slice(0, Math.max(0, limit - 1))
  const space = cut.lastIndexOf(' ')
  const kept = space > limit * 0.6 ? cut.slice(0, space) : cut
  // Never leave half of a surrogate pair behind.
  return `${kept.replace(/[\ud800-\udbff]$/, '').trimEnd()}…`
}
