import { finding, type Rule } from '../finding.ts'
import { baseName } from '../paths.ts'

const TEST_SCRIPT = /^(?:test|check|verify|ci|lint|typecheck)(?::|$)/
/** A command that cannot fail, whatever the tests say. */
const HARMLESS = /^\s*(?:true|:|exit 0|echo\b[^&|;]*(?:(?:&&|;)\s*(?:exit 0|true))?|node -e ["'].*(?:exit\(0\))?.*["'])\s*$|(?:\|\||;)\s*(?:true|:|exit 0|echo\b[^&|;]*)\s*$/

/** The command that runs the tests has to fail when one fails. */
export const testCommands: Rule = function* ({ files }) {
  for (const view of files) {
    const name = baseName(view.path)
    const before = view.file.before?.text ?? null
    const after = view.file.after?.text ?? null
    if (before === null || after === null) continue
    if (name === 'package.json') {
      const [old, now] = [scriptsOf(before), scriptsOf(after)]
      if (!old || !now) continue
      for (const [script, command] of Object.entries(old)) {
        if (!TEST_SCRIPT.test(script) || HARMLESS.test(command) || /no test specified/.test(command)) continue
        const current = now[script]
        const isTest = script.startsWith('test')
        const line = after.split('\n').findIndex((text) => text.includes(`"${script}"`)) + 1 || null
        if (current === undefined) {
          const left = Object.keys(now).some((other) => other.startsWith('test'))
          if (script === 'test') yield finding('test_command_neutralised', left ? 'warning' : 'error', view.path, null, 'The "test" script is gone.')
        } else if (HARMLESS.test(current) || current.trim() === '') yield finding('test_command_neutralised', isTest ? 'error' : 'warning', view.path, line, `The "${script}" script cannot fail any more: ${current.slice(0, 80)}`)
        else if (isTest && /--passWithNoTests|--pass-with-no-tests|--exit-zero|--no-bail-on-fail/.test(current) && !/--passWithNoTests|--pass-with-no-tests|--exit-zero/.test(command)) yield finding('test_configuration_weakened', 'warning', view.path, line, `The "${script}" script passes without tests.`)
      }
    } else if (/^(?:makefile|gnumakefile|justfile|tox\.ini|noxfile\.py|rakefile|build\.gradle(?:\.kts)?|taskfile\.ya?ml|cargo\.toml|pom\.xml|composer\.json|setup\.cfg)$/i.test(name) || /\.mk$/.test(name)) {
      const weak = view.added.find(({ text }) => /(?:\b(?:test|pytest|check|jest|vitest|mocha|ctest|phpunit|rspec|tap)\b.*(?:\|\|\s*(?:true|:|exit 0)|;\s*(?:true|exit 0))\s*$)|^\t-\S*.*\b(?:test|pytest)\b|ignoreFailures\s*=\s*true|<skipTests>true|<testFailureIgnore>true|<maven\.test\.skip>true/.test(text))
      if (weak && !view.removed.some(({ text }) => text.trim() === weak.text.trim())) yield finding('test_command_neutralised', 'error', view.path, weak.line, `Tests may fail here without notice: ${weak.text.trim().slice(0, 80)}`)
      const target = /^(?:test|check)\s*:(?!=)[^\n]*\n((?:\t[^\n]*\n?)*)/m
      const [oldRecipe, newRecipe] = [target.exec(before)?.[1] ?? '', target.exec(after)?.[1] ?? '']
      if (/make/i.test(name) && /\w/.test(oldRecipe) && oldRecipe !== newRecipe && target.test(after) && newRecipe.split('\n').every((text) => text.trim() === '' || HARMLESS.test(text.trim().replace(/^@/, '')))) {
        if (!/\w/.test(oldRecipe.replace(/\s/g, '')) || newRecipe.trim() !== '' ) yield finding('test_command_neutralised', 'error', view.path, null, 'The test target does nothing any more.')
      }
    } else if (/^(?:jest|vitest|vite|karma|playwright|cypress)\.config\.|^\.mocharc|^pytest\.ini$|^pyproject\.toml$|^\.coveragerc$|^codecov\.ya?ml$|^\.nycrc/.test(name)) {
      const weak = view.added.find(({ text }) => /passWithNoTests\s*[:=]\s*true|fail_under\s*=\s*0\b|bail\s*:\s*false|addopts\s*=.*(?:--ignore|--deselect|-k\s*["']?not|--collect-only|--co\b)|testPathIgnorePatterns.*(?:test|spec)|collect_ignore|exclude\s*:\s*\[.*\*\*/.test(text))
      if (weak && !/addopts.*--(?:ignore|import)=(?:docs|examples)/.test(weak.text)) yield finding('test_configuration_weakened', 'warning', view.path, weak.line, `Fewer tests count now: ${weak.text.trim().slice(0, 80)}`)
    }
  }
}

function scriptsOf(text: string): Record<string, string> | null {
  try {
    const parsed: unknown = JSON.parse(text)
    if (typeof parsed !== 'object' || parsed === null) return null
    const scripts = 'scripts' in parsed && typeof parsed.scripts === 'object' && parsed.scripts !== null ? parsed.scripts : {}
    return Object.fromEntries(Object.entries(scripts).filter((entry): entry is [string, string] => typeof entry[1] === 'string'))
  } catch (error) {
    // Broken JSON is the syntax rule's business.
    if (error instanceof SyntaxError) return null
    throw error
  }
}
