import { finding, type Rule } from '../finding.ts'
import { baseName, isLockfile, isProse, isTestMaterial } from '../paths.ts'

/** Keys whose shape alone gives them away. Shapes as their issuers document them. */
const SHAPES: readonly (readonly [RegExp, string])[] = [
  [/\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b/, 'an AWS access key'],
  [/\b(?:ghp|gho|ghu|ghs|ghr)_[A-Za-z0-9]{36,}\b/, 'a GitHub token'],
  [/\bgithub_pat_[A-Za-z0-9]{20,}_[A-Za-z0-9]{50,}\b/, 'a GitHub token'],
  [/\bglpat-[\w-]{20,}\b/, 'a GitLab token'],
  [/\bsk-ant-[\w-]{32,}/, 'an Anthropic key'],
  [/\bsk-(?:proj-|svcacct-|admin-)?[A-Za-z0-9_-]{20,}T3BlbkFJ[A-Za-z0-9_-]{20,}|\bsk-(?:proj-|svcacct-)[A-Za-z0-9_-]{40,}|\bsk-[A-Za-z0-9]{48}\b/, 'an OpenAI key'],
  [/\bxox[abeoprs]-(?:\d{8,}-)+[\w-]{10,}/, 'a Slack token'],
  [/\bhooks\.slack\.com\/services\/T[A-Z0-9]{7,}\/B[A-Z0-9]{7,}\/[A-Za-z0-9]{20,}/, 'a Slack webhook'],
  [/\bAIza[0-9A-Za-z_-]{35}\b/, 'a Google API key'],
  [/\bGOCSPX-[\w-]{28}\b/, 'a Google OAuth secret'],
  [/\b(?:sk|rk)_live_[0-9a-zA-Z]{20,}\b/, 'a Stripe key'],
  [/\bnpm_[A-Za-z0-9]{36}\b/, 'an npm token'],
  [/\bpypi-AgEIcHlwaS5vcmc[\w-]{50,}/, 'a PyPI token'],
  [/\bSG\.[\w-]{22}\.[\w-]{43}\b/, 'a SendGrid key'],
  [/\bkey-[0-9a-f]{32}\b/, 'a Mailgun key'],
  [/\bSK[0-9a-f]{32}\b/, 'a Twilio key'],
  [/\bdop_v1_[0-9a-f]{64}\b/, 'a DigitalOcean token'],
  [/\bhf_[A-Za-z]{34}\b/, 'a Hugging Face token'],
  [/\bEAACEdEose0cBA[0-9A-Za-z]+/, 'a Facebook token'],
  [/\bshp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}\b/, 'a Shopify token'],
  [/\bhvs\.[\w-]{24,}/, 'a Vault token'],
  [/\bdckr_pat_[\w-]{27}\b/, 'a Docker token'],
  [/\bAccountKey=[A-Za-z0-9+/]{86}==/, 'an Azure storage key'],
  [/\bDefaultEndpointsProtocol=https;AccountName=\w+;AccountKey=\S{40,}/, 'an Azure storage key'],
  [/\b\d{8,10}:AA[A-Za-z0-9_-]{33}\b/, 'a Telegram token'],
  [/\b[MNO][A-Za-z\d_-]{23,25}\.[A-Za-z\d_-]{6}\.[A-Za-z\d_-]{27,38}\b/, 'a Discord token'],
]
const PEM = /-----BEGIN (?:RSA |EC |DSA |OPENSSH |ENCRYPTED |PGP )?PRIVATE KEY(?: BLOCK)?-----/
const AWS_SECRET = /(?:aws.{0,20})?secret.{0,20}["'=:\s]([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])/i
const ASSIGNED = /\b([\w.-]*(?:secret|token|passw(?:or)?d|pwd|api[_-]?key|apikey|private[_-]?key|access[_-]?key|auth[_-]?key|credential|client[_-]?secret|encryption[_-]?key|signing[_-]?key)[\w.-]*)["'`]?\s*(?::|=>|:=|=(?!=))\s*["'`]([^"'`\s]{12,})["'`]/i
const ASSIGNED_BARE = /^\s*(?:export\s+)?([A-Z][A-Z0-9_]*(?:SECRET|TOKEN|PASSWORD|PASSWD|API_?KEY|PRIVATE_KEY|ACCESS_KEY|CREDENTIALS?)[A-Z0-9_]*)\s*[=:]\s*([^\s"'`#$<{]{12,})\s*$/
const URL_PASSWORD = /\b(?:postgres(?:ql)?|mysql|mariadb|mongodb(?:\+srv)?|redis|rediss|amqps?|https?|ftp):\/\/[^\s:/@"'`{}$<>]+:([^\s@/"'`{}$<>]{6,})@([\w.-]+)/i
const PLACEHOLDER = /example|sample|dummy|fake|placeholder|changeme|change[_-]?me|your[_-]|my[_-]?(?:secret|token|password|key)|xxxx|\.\.\.|<[^>]+>|\$\{|\{\{|%\(|\bnull\b|undefined|redacted|hunter2|foobar|secret[_-]?(?:key|token|value)?$|test|mock|lorem|insert|replace|todo|process\.env|os\.environ|getenv|abcdef|123456|qwerty|deadbeef|0000|password|passw0rd|secretsecret|not[_-]?(?:a|real)|invalid|default|insecure|localhost/i
const DIGEST_CONTEXT = /\b(?:sha\d*|md5|hash|digest|checksum|integrity|commit|revision|fingerprint|etag|nonce|uuid|guid|public[_-]?key|csrf)\b/i

/** Keys, private keys, passwords in addresses and random-looking values that are assigned to a telling name. */
export const secrets: Rule = function* ({ files }) {
  for (const view of files) {
    if (view.file.after?.text == null || isLockfile(view.path) || /\.(?:svg|map|ipynb|min\.js|snap)$/.test(view.path)) continue
    const had = view.file.before?.text ?? ''
    const mild = isTestMaterial(view.path) || view.isFixture || /(?:^|[./_-])(?:examples?|sample|template|dist|defaults?)(?:[./_-]|$)/i.test(baseName(view.path))
    let found = 0
    for (const [at, { text, line }] of view.added.entries()) {
      if (found >= 20) break
      const row = text.length > 4_000 ? text.slice(0, 4_000) : text
      const shape = SHAPES.find(([pattern]) => pattern.test(row))
      if (shape) {
        const value = shape[0].exec(row)?.[0] ?? ''
        if (had.includes(value)) continue
        const unreal = /EXAMPLE|example|XXXX|xxxx|\*{3}|(.)\1{5,}|0123456789|123456789|abcdefgh|test_?key|fake|dummy|sample/i.test(value) || entropy(value) < 3
        found++
        yield finding(unreal ? 'possible_secret' : 'secret', unreal || (mild && isTestMaterial(view.path) && view.isFixture) ? 'warning' : 'error', view.path, line, `This looks like ${shape[1]}.`)
        continue
      }
      if (PEM.test(row)) {
        const body = view.added.slice(at, at + 4).some((next) => /^[\s"'+A-Za-z]*[A-Za-z0-9+/]{40,}/.test(next.text.replace(/-----[^-]+-----/, ''))) || /-----(?:\\n|\s)*[A-Za-z0-9+/\\n]{60,}/.test(row)
        if (!body) continue
        found++
        yield finding(mild ? 'possible_secret' : 'secret', mild || isProse(view.path) ? 'warning' : 'error', view.path, line, 'This is a private key.')
        continue
      }
      const url = URL_PASSWORD.exec(row)
      if (url && !PLACEHOLDER.test(url[1] as string) && !/^(?:localhost|127\.|0\.0|example|.*\.example|db$|postgres$|mysql$|redis$|host$|proxy|server$)/.test(url[2] as string) && !/^(?:user|pass|pwd|admin|root|secret|postgres|guest)/i.test(url[1] as string)) {
        found++
        yield finding('possible_secret', !mild && !isProse(view.path) && entropy(url[1] as string) >= 2.8 && /\d/.test(url[1] as string) && (url[1] as string).length >= 8 ? 'error' : 'warning', view.path, line, 'This address carries a password.')
        continue
      }
      const assigned = ASSIGNED.exec(row) ?? ASSIGNED_BARE.exec(row)
      const aws = AWS_SECRET.exec(row)
      const value = aws && /aws/i.test(row) ? (aws[1] as string) : assigned?.[2]
      if (value === undefined || had.includes(value) || PLACEHOLDER.test(value) || DIGEST_CONTEXT.test(assigned?.[1] ?? '') || !looksRandom(value)) continue
      found++
      const grave = !mild && !isProse(view.path) && !view.isGenerated
      yield finding(grave ? 'secret' : 'possible_secret', grave ? 'error' : 'warning', view.path, line, `A random-looking value is assigned to ${assigned?.[1] ?? 'a secret'}.`)
    }
  }
}

/** A value that nobody would type: letters and digits mixed, no words, spread over the alphabet. */
function looksRandom(value: string): boolean {
  if (value.length < 16 || value.length > 200 || /\s|[()<>{}[\]]|\/\/|^[./\\]|^\w+(?:[._-][a-z]+)+$|^[a-z]+(?:[A-Z][a-z]+)+$|^[a-z_.-]+$|^[A-Z_.-]+$/.test(value)) return false
  if (!/\d/.test(value) || !/[A-Za-z]/.test(value)) return false
  if (/^\d{4}-\d{2}|^[0-9a-f]{8}-[0-9a-f]{4}-/i.test(value)) return false
  const bits = entropy(value)
  return /^[0-9a-f]+$/i.test(value) ? value.length >= 32 && bits >= 3 : bits >= 3.5
}

/** Shannon's measure of a text in bits per character. */
export function entropy(text: string): number {
  const counts = new Map<string, number>()
  for (const char of text) counts.set(char, (counts.get(char) ?? 0) + 1)
  let bits = 0
  for (const count of counts.values()) bits -= (count / text.length) * Math.log2(count / text.length)
  return bits
}
