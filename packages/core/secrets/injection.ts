/*
 * How a secret becomes a header of the requests to the hosts that it is bound to. The egress proxy writes it on the host; a guest
 * neither sees nor chooses it.
 */

/** A header of its own with the secret in a text, or HTTP Basic with a user name. */
export type Injection =
  | { readonly kind: 'header'; readonly header: string; readonly format: string }
  | { readonly kind: 'basic'; readonly username: string }

/** Where the secret stands in a format. */
export const SECRET_PLACE = '{secret}'

/** Headers that frame a message or name its target, that belong to one hop, or that Swarm writes itself. */
const RESERVED = new Set(['host', 'content-length', 'content-encoding', 'transfer-encoding', 'connection', 'keep-alive', 'upgrade', 'te', 'trailer', 'expect', 'accept-encoding', 'range'])

/** Whether a secret may be sent in this header (lower case). */
export function mayCarrySecret(header: string): boolean {
  return /^[a-z0-9!#$%&'*+.^_`|~-]{1,100}$/.test(header) && !header.startsWith('proxy-') && !RESERVED.has(header)
}

/** Whether a format has the secret in it once, and besides only what a header may hold. */
export function isFormat(format: string): boolean {
  return /^[\x20-\x7e]*$/.test(format) && format.split(SECRET_PLACE).length === 2
}

export function headerOf(injection: Injection): string {
  return injection.kind === 'basic' ? 'authorization' : injection.header
}

/** The whole value of the header. */
export function headerValue(injection: Injection, secret: string): string {
  return injection.kind === 'basic' ? `Basic ${basicCredentials(injection.username, secret)}` : injection.format.split(SECRET_PLACE).join(secret)
}

/** Every form in which a host that repeats what it was sent, or what it keeps, most likely shows the secret; the longest first. */
export function shownForms(injection: Injection, secret: string): string[] {
  const forms = [secret, btoa(secret), encodeURIComponent(secret), JSON.stringify(secret).slice(1, -1), ...(injection.kind === 'basic' ? [basicCredentials(injection.username, secret)] : [])]
  return [...new Set(forms.flatMap((form) => [form, form.replace(/=+$/, '')]))].sort((a, b) => b.length - a.length)
}

function basicCredentials(username: string, secret: string): string {
  return btoa(`${username}:${secret}`)
}
