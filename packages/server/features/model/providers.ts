import type { Config } from '@swarm/contract/config.ts'
import { DomainError } from '@swarm/core/errors.ts'

/** Where model calls go. A value, so that one gateway serves all: the API itself, a rehearsal, or a compatible service. */
export interface ModelProvider {
  /** Shown wherever a call is shown. */
  readonly label: 'anthropic' | 'rehearsal' | 'compatible'
  /** Without a trailing slash; `/v1/messages` is added. */
  readonly baseUrl: string
  /** The credential headers, made at each call: the key is in no object that could be printed. */
  credentials(): Readonly<Record<string, string>>
  /** Adds who asks (role, ticket, attempt, step) in x-swarm-… headers, which a rehearsal script matches on. Never to a real API. */
  readonly tellsWhoAsks: boolean
}

/** The Claude API. @param key read at each call, so that a rotated key is used at once. */
export function anthropicProvider(key: () => string, baseUrl = 'https://api.anthropic.com'): ModelProvider {
  return { label: 'anthropic', baseUrl: trim(baseUrl), credentials: () => ({ 'x-api-key': key() }), tellsWhoAsks: false }
}

/** A rehearsal server (docs/rehearsal.md). It takes any key. */
export function rehearsalProvider(baseUrl: string): ModelProvider {
  return { label: 'rehearsal', baseUrl: trim(baseUrl), credentials: () => ({ 'x-api-key': 'rehearsal' }), tellsWhoAsks: true }
}

/** Any other service that speaks the Messages API. Its models need prices in the configuration. */
export function compatibleProvider(baseUrl: string, key: () => string): ModelProvider {
  return { label: 'compatible', baseUrl: trim(baseUrl), credentials: () => ({ 'x-api-key': key(), authorization: `Bearer ${key()}` }), tellsWhoAsks: false }
}

function trim(url: string): string {
  return url.replace(/\/+$/, '')
}

/**
 * The provider that the settings name. `auto` is the Claude API where there is a key, else a rehearsal where there is an
 * address. Where there is neither the server starts all the same, and every model call says what to set.
 */
export function providerOf(model: Config['model']): ModelProvider {
  const key = (): string => {
    if (model.apiKey === undefined) throw new DomainError('model_not_configured', {})
    return model.apiKey.reveal()
  }
  const wanted = model.provider === 'auto' ? (model.apiKey !== undefined ? 'anthropic' : 'rehearsal') : model.provider
  if (wanted === 'anthropic') return anthropicProvider(key, model.baseUrl)
  if (model.baseUrl === undefined) return { label: wanted, baseUrl: '', credentials: () => { throw new DomainError('model_not_configured', {}) }, tellsWhoAsks: false }
  return wanted === 'rehearsal' ? rehearsalProvider(model.baseUrl) : compatibleProvider(model.baseUrl, key)
}
