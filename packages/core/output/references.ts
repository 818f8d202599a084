import type { Mention } from './change.ts'
import { maskText } from './mask.ts'
import { baseName, extensionOf, folderOf, isCode, isFixturePath, isGeneratedPath, isTestMaterial, languageOf, type Language } from './paths.ts'
import type { ChangeView, Dangling } from './view.ts'

/** Something that the change took away and that other files may still need. */
export interface LostName {
  /** The word to look for in the head: a defined name, or a deleted file's name without extension. */
  readonly word: string
  readonly kind: 'function' | 'method' | 'type' | 'value' | 'file'
  readonly from: string
  readonly language: Language | null
}

const MIN_NAME = 4
const EXPORTS = /\bmodule\.exports\b|(?<![\w.])exports\.|^[ \t]*export\b/m
/** Present without any definition: taking one's own away leaves the platform's. */
const PLATFORM = new Set('fetch Promise URL URLSearchParams TextEncoder TextDecoder performance structuredClone Buffer process global globalThis window document console setTimeout setInterval queueMicrotask Symbol Object Array Error Event EventTarget AbortController Headers Request Response FormData Blob File crypto require module exports print input open list dict type tuple range filter sorted error string main init test name self this super true false null None copy clear append delete iter assert describe expect unicode bytes long basestring reduce xrange callable property any all next hash format text data value result'.split(' '))

/** What the head should be searched for (`Mention`s of each `word`), so that `danglingUses` can tell what still leans on it. */
export function lostNamesOf(whole: ChangeView): LostName[] {
  const definedNow = new Set<string>()
  for (const view of whole.files) for (const definition of view.after?.definitions ?? []) definedNow.add(definition.name)
  const pathsNow = new Set(whole.files.filter((view) => view.file.after !== null).map((view) => stemPath(view.path)))
  const lost: LostName[] = []
  for (const view of whole.files) {
    const { file } = view
    if (file.before === null || view.isFixture || view.isGenerated || isGeneratedPath(file.oldPath)) continue
    const language = languageOf(file.oldPath)
    if ((file.status === 'deleted' || file.status === 'renamed') && language !== null && !isTestMaterial(file.oldPath)) {
      const stem = stemOf(file.oldPath)
      const word = /^(?:index|mod|__init__)$/.test(stem) ? baseName(folderOf(file.oldPath)) || stem : stem
      const movedPackage = file.status === 'renamed' && language === 'python' && tail(file.path) === tail(file.oldPath)
      if (word.length > 1 && !movedPackage && !pathsNow.has(stemPath(file.oldPath))) lost.push({ word, kind: 'file', from: file.oldPath, language })
    }
    if (language === null || view.before === null || !isCode(file.oldPath)) continue
    if (language === 'js' && view.after !== null && EXPORTS.test(view.before.masked.code) && !EXPORTS.test(view.after.masked.code) && !/\bdefine\(|\bthis\.\w|\bglobalThis\b/.test(view.after.masked.code)) {
      const stem = stemOf(file.path)
      lost.push({ word: stem === 'index' ? baseName(folderOf(file.path)) : stem, kind: 'file', from: file.path, language })
    }
    // A wildcard may bring every name back; who knows which.
    if (/^[ \t]*export\s+\*|^[ \t]*from[ \t]+\S{1,300}[ \t]+import[ \t]+\*|^[ \t]*(?:pub\s+)?use[ \t]+.{0,500}\*;/m.test(view.file.after?.text ?? '')) continue
    const kept = new Set((view.after?.definitions ?? []).map((definition) => definition.name))
    const seen = new Set<string>()
    for (const { name, topLevel, kind } of view.before.definitions) {
      const method = !topLevel && language === 'go' && name.length >= 6
      if ((!topLevel && !method) || name.length < MIN_NAME || kept.has(name) || definedNow.has(name) || seen.has(name) || PLATFORM.has(name) || /^test|^Test/.test(name)) continue
      seen.add(name)
      lost.push({ word: name, kind: method ? 'method' : kind, from: file.oldPath, language })
    }
  }
  return lost
}

/** Which of the lost things the head still uses. `mentions` are the head's lines that hold one of their words. */
export function danglingUses(lost: readonly LostName[], mentions: readonly Mention[], whole: ChangeView): Dangling[] {
  const byWord = new Map<string, Mention[]>()
  const words = new Set(lost.map((name) => name.word))
  for (const mention of mentions) {
    if (mention.text.length > 1_000) continue
    for (const word of new Set(mention.text.match(/[\w$][\w$.-]*/g)?.flatMap((text) => [text, ...text.split(/[^\w$]/), text.replace(/\.\w+$/, '')]) ?? [])) {
      if (!words.has(word)) continue
      const list = byWord.get(word)
      if (list) list.push(mention)
      else byWord.set(word, [mention])
    }
  }
  // Where the whole file is at hand, its masked text tells code from a comment or string that runs over lines.
  const maskedRows = new Map(whole.files.flatMap((view) => (view.after ? [[view.path, view.after.masked.code.split('\n')] as const] : [])))
  const found: Dangling[] = []
  for (const name of lost) {
    const lines = byWord.get(name.word) ?? []
    found.push(...(name.kind === 'file' ? usesOfFile(name, lines) : usesOfName(name, lines, maskedRows)))
  }
  return found
}

function usesOfFile(lost: LostName, mentions: readonly Mention[]): Dangling[] {
  const target = stemPath(lost.from)
  const uses: Dangling[] = []
  for (const { path, line, text } of mentions) {
    if (isFixturePath(path) || isGeneratedPath(path)) continue
    const language = languageOf(path)
    let hit = false
    if (lost.language === 'js' || lost.language === 'css' || lost.language === 'html') {
      const code = language === 'js' ? maskText(text, 'js').uncommented : text
      for (const match of code.matchAll(/(?:\bfrom\s*|\bimport\s*\(?\s*|\brequire\(\s*|\bsrc=|\bhref=|@import\s+)["'](\.{0,2}\/?[^"'?#]+)["']/g)) {
        const asked = match[1] as string
        if (language === 'js' && !asked.startsWith('.')) continue
        if (/^\w+:|^\/\//.test(asked)) continue
        const resolved = resolvePath(asked.startsWith('/') ? '' : folderOf(path), asked)
        if (resolved !== lost.from && stripExtension(resolved) !== target && `${resolved}/index` !== target && resolved !== target) continue
        hit = true
      }
      if (/^\s*(?:\/\/|\*|\/\*)/.test(text)) hit = false
    } else if (lost.language === 'c') hit = language === 'c' && new RegExp(`^\\s*#\\s*include\\s+"(?:[^"]*/)?${escapeRegExp(baseName(lost.from))}"`).test(text)
    else if (lost.language === 'python' && language === 'python') {
      const module = target.replace(/\/__init__$/, '').split('/')
      const match = /^\s*from\s+(\.*)([\w.]*)\s+import\b\s*(.*)$|^\s*import\s+([\w.]+)/.exec(text)
      if (match) {
        const [, dots = '', from = '', names = '', plain] = match
        if (plain !== undefined) hit = endsWith(module, plain.split('.')) && plain.includes('.')
        else if (dots !== '') {
          const base = folderOf(path).split('/').filter((part) => part !== '')
          const asked = [...base.slice(0, base.length - dots.length + 1), ...from.split('.').filter((part) => part !== '')]
          hit = asked.join('/') === module.join('/') || (from === '' && asked.join('/') === module.slice(0, -1).join('/') && new RegExp(`^\\(?\\s*${module.at(-1)}\\b\\s*(?:,|$)`).test(names) && stemOf(path) !== '__init__')
        } else hit = from.includes('.') && endsWith(module, from.split('.'))
      }
    }
    if (baseName(path) === 'package.json') for (const match of text.matchAll(/"(\.?[^"\s:*]+)"/g)) if (resolvePath(folderOf(path), match[1] as string) === lost.from && !/^\s*"files"/.test(text)) hit = true
    if (hit) uses.push({ name: baseName(lost.from), from: lost.from, usedIn: path, line, certain: true })
  }
  return uses
}

function usesOfName(lost: LostName, mentions: readonly Mention[], maskedRows: ReadonlyMap<string, readonly string[]>): Dangling[] {
  const word = escapeRegExp(lost.word)
  const uses: Dangling[] = []
  const sameLanguage = mentions.filter(({ path }) => languageOf(path) === lost.language)
  const binds = new RegExp(`\\b(?:function\\*?|def|class|func|fn|const|let|var|val|type|struct|enum|union|interface|trait|record|object|static|import|export|use|as|mod|macro_rules!|typedef|#\\s*define|for|except|with|global|nonlocal|catch)\\b[^=;]*?(?<![\\w$])${word}(?![\\w$])|(?<![\\w$.])${word}\\s*(?::(?!:)|(?<![=!<>])=(?!=)|:=)|^\\s*[{(]?\\s*${word}(?:\\s+as\\s+\\w+)?\\s*[,)}]*\\s*[)}]*\\s*(?:from\\b.*)?$|[({,]\\s*\\.{0,3}${word}\\s*[,)}\\]=].*(?:=>|\\{|:)\\s*$|\\b(?:public|private|protected|internal|static|final|void|int|bool|char|auto|inline)\\b[^=;(]*(?<![\\w$])${word}\\s*\\(|^func\\s*\\([^)]*\\)\\s*${word}\\b|[({,]\\s*${word}\\s*[,}].*\\}\\s*=|\\|[^|]*\\b${word}\\b[^|]*\\||${word}!?\\s*\\([^)]*\\)\\s*\\{\\s*$|\\(\\s*${word}\\s+[\\w*\\[\\].]+[,)]|[(,]\\s*${word}\\s+[\\w*\\[\\].]+\\s*[,)]`)
  const bare = lost.language === 'go' ? goUse(lost, word) : new RegExp(`(?<![\\w$.'"@#:>-])${word}(?![\\w$'":-])`)
  const bound = new Set<string>()
  const lines = sameLanguage.map((mention) => ({ mention, code: maskedRows.get(mention.path)?.[mention.line - 1] ?? maskText(mention.text, lost.language as Language).code })).filter(({ mention, code }) => new RegExp(`(?<![\\w$])${word}(?![\\w$])`).test(code) && !/^\s*(?:\*|\/\/|\/\*|#(?!\s*define|\s*if))/.test(mention.text))
  for (const { mention, code } of lines) if (binds.test(code)) bound.add(mention.path)
  const fromFolder = folderOf(lost.from)
  const stem = /^(?:index|mod|__init__)$/.test(stemOf(lost.from)) ? baseName(fromFolder) : stemOf(lost.from)
  const importsIt = lost.language === 'js'
    ? new RegExp(`\\b(?:import|export)\\s+(?:type\\s+)?(?:\\w+\\s*,\\s*)?\\{[^}]*\\b${word}\\b[^}]*\\}\\s*from\\s*["'](\\.[^"']+)["']|\\{[^}]*\\b${word}\\b[^}]*\\}\\s*=\\s*require\\(\\s*["'](\\.[^"']+)["']`)
    : lost.language === 'python' ? new RegExp(`^\\s*from\\s+[\\w.]*(?<![\\w])${escapeRegExp(stem)}\\s+import\\b.*\\b${word}\\b`) : null
  const qualifier = lost.language === 'go' ? (/^[A-Z]/.test(lost.word) ? baseName(fromFolder) : '') : lost.language === 'js' || lost.language === 'python' ? stem : ''
  const qualified = qualifier.length >= 3 && /^\w+$/.test(qualifier) && !/^v\d+$/.test(qualifier) ? new RegExp(`(?<![\\w$.])${qualifier}\\.${word}(?![\\w$])`) : null
  for (const { mention, code } of lines) {
    const { path, line, text } = mention
    if (isFixturePath(path)) continue
    const dangling = (certain: boolean) => uses.push({ name: lost.word, from: lost.from, usedIn: path, line, certain })
    if (new RegExp(`\\bas\\s+${word}\\b`).test(code)) continue
    const imported = importsIt?.exec(text)
    if (imported) {
      if (lost.language !== 'js') {
        if (!bound.has(lost.from)) dangling(true)
      } else {
        const resolved = resolvePath(folderOf(path), (imported[1] ?? imported[2]) as string)
        if ((resolved === lost.from || stripExtension(resolved) === stripExtension(lost.from)) && !bound.has(lost.from)) dangling(true)
      }
      continue
    }
    if (bound.has(path)) continue
    if (lost.kind === 'method') {
      // Another type may have a method of that name: only several at once tell.
      if (bound.size === 0 && new RegExp(`\\.${word}\\(`).test(code)) dangling(false)
      continue
    }
    if (qualified?.test(code)) {
      if (![...bound].some((other) => (lost.language === 'go' ? folderOf(other) === fromFolder : other === lost.from))) dangling(true)
      continue
    }
    if (path === lost.from) {
      if (bare.test(code)) dangling(lost.language !== 'c' && lost.language !== 'shell' && lost.language !== 'ruby')
    } else if (lost.language === 'go') {
      const samePackage = folderOf(path) === fromFolder
      const elsewhereBound = [...bound].some((other) => folderOf(other) === fromFolder)
      if (samePackage && !elsewhereBound && bare.test(code)) dangling(true)
    } else if (lost.language === 'java' || lost.language === 'csharp') {
      if (lost.kind === 'type' && bound.size === 0 && /^[A-Z]/.test(lost.word) && bare.test(code)) dangling(!/^\s*import\b/.test(code))
    } else if (bound.size === 0 && bare.test(code) && /^.{6,}$/.test(lost.word) && (lost.language === 'c' || lost.language === 'php' || lost.language === 'shell')) dangling(false)
  }
  return uses
}

/** In Go a bare word may be a field, a parameter or a package: only a call, a composite or a pointer to it tells. */
function goUse(lost: LostName, word: string): RegExp {
  if (lost.kind === 'function') return new RegExp(`(?<![\\w.$])(?<!func )${word}(?:\\[[^\\]]*\\])?\\(`)
  if (lost.kind === 'type') return new RegExp(`(?:[*&\\]]|(?<![\\w.$])new\\(|^\\s*return\\s+)${word}(?![\\w.])|(?<![\\w.$])${word}\\{`)
  return new RegExp(`(?<![\\w.$])${lost.word.length >= 8 ? word : '(?!)'}(?![\\w.:{(])`)
}

function resolvePath(folder: string, asked: string): string {
  const parts = folder === '' ? [] : folder.split('/')
  for (const part of asked.split('/')) {
    if (part === '..') parts.pop()
    else if (part !== '.' && part !== '') parts.push(part)
  }
  return parts.join('/')
}

/** A module's last two names: what an import of it from elsewhere looks like. */
function tail(path: string): string {
  return path.split('/').slice(-2).join('/')
}

function stemOf(path: string): string {
  return baseName(stripExtension(path))
}

function stripExtension(path: string): string {
  const extension = extensionOf(path)
  return extension === '' || languageOf(path) === null ? path : path.slice(0, -extension.length - 1)
}

function stemPath(path: string): string {
  return stripExtension(path)
}

function endsWith(parts: readonly string[], tail: readonly string[]): boolean {
  return tail.length <= parts.length && tail.every((part, i) => parts[parts.length - tail.length + i] === part)
}

function escapeRegExp(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&')
}
