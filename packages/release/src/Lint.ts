/**
 * What is wrong with a tarball before anybody installs it: what it holds, publint, and "are the types wrong".
 */
import { checkPackage, Package as TypedPackage } from "@arethetypeswrong/core"
import { filterProblems } from "@arethetypeswrong/core/problems"
import { posix } from "node:path"
import { publint } from "publint"
import { formatMessage } from "publint/utils"
import { commands, entryPoints, type Tarball } from "./Tarball.ts"

const allowed = [
  /^(?:package\.json|README\.md|LICENSE|CHANGELOG\.md)$/,
  // Sources, and data that they read.
  /^src\/.*\.(?:ts|json)$/,
  /^dist\/.*\.(?:js|d\.ts)(?:\.map)?$/,
  /^assets\/[^/]+\.(?:json|yml)$/
]

/** What only means something within the workspace. */
const unresolved = ["workspace:", "catalog:", "@evenkeel/source"]

const specifiers = [
  /^\s*(?:import|export)\b[^"'=]*?\bfrom "([^"]+)"/gm,
  /^\s*import "([^"]+)"/gm,
  /\bimport\("([^"]+)"\)/g
]

/** The packages that the code or its declarations import. */
const importsOf = ({ files }: Tarball): ReadonlySet<string> => {
  const found = new Set<string>()
  for (const [file, text] of files) {
    if (!/^dist\/.*\.(?:js|d\.ts)$/.test(file)) continue
    // Examples in comments import what the reader has installed.
    const code = text.replaceAll(/\/\*[\s\S]*?\*\//g, "")
    for (const [, specifier = ""] of specifiers.flatMap((pattern) => Array.from(code.matchAll(pattern)))) {
      if (!/^(?:\.|node:)/.test(specifier)) found.add(/^(?:@[^/]+\/)?[^/]+/.exec(specifier)![0])
    }
  }
  return found
}

/** What the tarball holds and lacks. */
export const contents = (tarball: Tarball): ReadonlyArray<string> => {
  const { files, manifest } = tarball
  const problems: Array<string> = []
  for (const file of ["README.md", "LICENSE"]) if (!files.has(file)) problems.push(`${file} is missing`)
  for (const word of unresolved) {
    if (JSON.stringify(manifest).includes(word)) problems.push(`package.json still says "${word}"`)
  }
  for (const file of files.keys()) {
    if (!allowed.some((pattern) => pattern.test(file))) problems.push(`${file} does not belong to it`)
    // A module that is gone stays in dist until that is cleaned.
    const source = file.replace(/^dist\/(.*?)(?:\.d)?\.[jt]s(?:\.map)?$/, "src/$1.ts")
    if (!files.has(source)) problems.push(`${file} has no source: remove dist, and build again`)
    if (file.endsWith(".map")) {
      for (const path of JSON.parse(files.get(file)!).sources as ReadonlyArray<string>) {
        const mapped = posix.join(posix.dirname(file), path)
        if (!files.has(mapped)) problems.push(`${file} maps ${mapped}, which is not in the tarball`)
      }
    }
  }
  // Where packages lie side by side, one that is not named is found all the same: until somebody installs this one alone.
  const named = { ...manifest.dependencies, ...manifest.peerDependencies }
  for (const name of importsOf(tarball)) {
    if (name !== manifest.name && !(name in named)) problems.push(`${name} is imported, and no dependency`)
  }
  for (const command of commands(tarball)) {
    if (!files.get(command)?.startsWith("#!/usr/bin/env node\n")) {
      problems.push(`${command} is a command, and must begin with #!/usr/bin/env node`)
    }
  }
  return problems
}

const linted = async ({ files }: Tarball): Promise<ReadonlyArray<string>> => {
  const { messages, pkg } = await publint({
    pack: { files: Array.from(files, ([name, data]) => ({ name: `package/${name}`, data })) },
    pkgDir: "package",
    strict: true
  })
  return messages.map((message) => `publint: ${formatMessage(message, pkg, { color: false })}`)
}

const typed = async (tarball: Tarball): Promise<ReadonlyArray<string>> => {
  const { name, version } = tarball.manifest
  const files = Object.fromEntries(
    Array.from(tarball.files, ([path, text]) => [`/node_modules/${name}/${path}`, text])
  )
  const entrypoints = entryPoints(tarball)
  if (entrypoints.length === 0) return []
  const analysis = await checkPackage(new TypedPackage(files, name, version), {
    entrypoints: [...entrypoints]
  })
  if (analysis.types === false) return ["types: there are none"]
  // ESM alone, as the profile `esm-only` has it: neither Node 10 nor `require` without `require(esm)` is served.
  const kinds = ["node16-esm", "bundler"] as const
  const found = kinds.flatMap((resolutionKind) => filterProblems(analysis, { resolutionKind }))
  return Array.from(new Set(found), (problem) => `types: ${JSON.stringify(problem)}`)
}

/** Everything that is wrong, a line each. */
export const problems = async (tarball: Tarball): Promise<ReadonlyArray<string>> => [
  ...contents(tarball),
  ...(await linted(tarball)),
  ...(await typed(tarball))
]
