/**
 * The code blocks of README, docs and doc comments as programs: each is written out as a module of its own, type-checked
 * with all the others, and run.
 *
 * A line `expression // => expected` asserts what the expression is.
 */
import { globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join, relative, resolve } from "node:path"

export const root = resolve(import.meta.dirname, "../..")
const folder = join(root, "docs/.snippets")

export interface Snippet {
  /** Where it stands: file and line. */
  readonly name: string
  /** The module it was written to. */
  readonly file: string
  /** Whether it comes from a page (and is a program) or from a doc comment (and is an example). */
  readonly kind: "page" | "comment"
}

const fence = /^([ \t]*(?:\*[ \t]?)?)```(?:ts|typescript)\b[^\n]*\n([\s\S]*?)^\1```/gm
const assertion = /^(\s*)(?!\/\/)(?:const (\w+)(?:: [^=]+)? = )?(.+?);?\s*\/\/ => (.+)$/

const pages = ["README.md", "docs/**/*.md", "packages/*/README.md", "examples/**/README.md"]
const sources = ["packages/*/src/**/*.ts"]

/** Finds all code blocks and writes them out. */
export const writeSnippets = (): ReadonlyArray<Snippet> => {
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  return [
    ...glob(pages).flatMap((path) => extract(path, "page")),
    ...glob(sources).flatMap((path) => extract(path, "comment"))
  ]
}

const glob = (patterns: ReadonlyArray<string>) =>
  patterns
    .flatMap((pattern) => globSync(pattern, { cwd: root }))
    .filter((path) => !path.includes("node_modules"))

const extract = (path: string, kind: Snippet["kind"]): ReadonlyArray<Snippet> => {
  const text = readFileSync(join(root, path), "utf8")
  return Array.from(text.matchAll(fence), (match) => {
    const line = text.slice(0, match.index).split("\n").length
    const prefix = match[1]!
    const code = match[2]!
      .split("\n")
      .map((row) => (row.startsWith(prefix) ? row.slice(prefix.length) : row.replace(/^\s*\*\s?/, "")))
    const file = join(folder, `${path.replaceAll(/[/.]/g, "-")}-${line}.ts`)
    writeFileSync(file, moduleOf(code))
    return { name: `${relative(root, join(root, path))}:${line}`, file, kind }
  })
}

const moduleOf = (lines: ReadonlyArray<string>): string => {
  let asserts = false
  const body = lines.map((line) => {
    const match = assertion.exec(line)
    if (match === null) return line
    asserts = true
    const [, indent, name, expression, expected] = match
    const check = (value: string) => `__same(${value}, ${expected}, ${JSON.stringify(line.trim())})`
    return name === undefined
      ? `${indent}${check(expression!)}`
      : `${indent}const ${name} = ${expression}\n${indent}${check(name)}`
  })
  // Behind the code, so that the lines of an error are those of the page.
  const helper = asserts
    ? [
        `import { Equal as __Equal } from "effect"`,
        `function __same(actual: unknown, expected: unknown, line: string) {`,
        "  if (!__Equal.equals(actual, expected)) throw new Error(`${line}\\n  but it is ${JSON.stringify(actual)}`)",
        "}"
      ]
    : []
  return [...body, ...helper, "export {}", ""].join("\n")
}
