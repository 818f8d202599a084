import { expect, test } from 'vitest'
import { syntaxProblem } from './syntax.ts'

/** Texts that can be read, in dialects that are easily taken for errors, each with what is broken of its kind. */
const DIALECTS: readonly (readonly [what: string, path: string, good: string, broken: string])[] = [
  ['Flow', 'src/a.js', '// @flow\nimport typeof A from "./a"\nopaque type Id = string\nexport type P = {| +id: ?Id, ...Q |}\nfunction f(x: ?string): %checks { return !!x }\n', '// @flow\nfunction f(x: ?string) {\n  return 1\n'],
  ['JSX in .js', 'src/a.js', 'export const A = () => <div className="a">{x}</div>\n', 'export const A = () => <div>{x}</span>\n'],
  ['decorators of TypeScript', 'src/a.ts', '@Injectable()\nexport class A {\n  @Input() name!: string\n  constructor(@Inject(T) private readonly t: T) {}\n}\n', '@Injectable()\nexport class A {\n  @Input() name!: string\n'],
  ['old casts of TypeScript', 'src/a.ts', 'const a = <string>b\n', 'const a = <string\n'],
  ['Python 2', 'a.py', 'print "a", 1\ntry:\n    exec "x" in ns\nexcept ValueError, e:\n    raise E, "text"\n', 'def f(x)\n    return 1\n'],
  ['JSON with comments', 'tsconfig.json', '{\n  // comment\n  "a": 1, /* b */\n}\n', '{\n  "a": 1,\n  "b": {\n'],
  ['JSON of a template', 'templates/a.json', '{ "a": {{ value }}, {% if b %}"b": 1{% endif %} }\n', '{ "a": [1, 2 }\n'],
  ['JSON by line', 'data.json', '{"a":1}\n{"a":2}\n', '{"a":1}\n{"a":\n'],
  ['a Helm template', 'chart/templates/a.yaml', '{{- if .Values.on }}\nmetadata:\n  name: {{ include "a.b" . }}\n{{- end }}\n', 'a: [1, 2\nb: }\n'],
  ['a Jinja template', 'roles/a.yml', 'a:\n{% for x in xs %}\n  - {{ x }}\n{% endfor %}\n', 'a: "b\nc: d: e\n'],
  ['expressions of a pipeline', '.github/workflows/a.yml', 'on: push\njobs:\n  a:\n    if: ${{ github.ref == \'x\' }}\n    runs-on: ${{ matrix.os }}\n', 'on: push\njobs: [a\n'],
  ['tags of CloudFormation', 'stack.yml', 'A:\n  B: !Sub "${X}-y"\n  C: !GetAtt D.Arn\n', 'A:\n  B: !Sub "x\n C: }\n'],
  ['Vue', 'src/A.vue', '<template>\n  <div v-if="a < b">{{ a }}</div>\n</template>\n<script setup lang="ts">\nconst a = 1 < 2\n</script>\n', '<template>\n  <div>\n'],
  ['Svelte', 'src/A.svelte', '<script>\n  let a = 1\n</script>\n{#if a > 0}<p>{a}</p>{/if}\n', '<script>\n  let a = 1\n'],
  ['SCSS', 'src/a.scss', '$a: 1px; // it\'s a note\n@mixin b($c) { &:hover { width: #{$c}; } }\n', '@mixin b($c) { &:hover { width: 1px;\n'],
  ['a page of a template', 'a.html', '{% extends "b" %}\n{% block c %}<p>{{ d }}</p>{% endblock %}\n', '<html><body><script>let a = 1'],
]

test.each(DIALECTS)('%s can be read, and what is broken of it is told', (_, path, good, broken) => {
  expect(syntaxProblem(path, good)).toBeNull()
  expect(syntaxProblem(path, broken)).not.toBeNull()
})
