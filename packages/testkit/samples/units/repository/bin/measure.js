#!/usr/bin/env node
import { run } from '../src/cli.js'

const { code, out, err } = run(process.argv.slice(2))
process.stdout.write(out)
process.stderr.write(err)
process.exitCode = code
