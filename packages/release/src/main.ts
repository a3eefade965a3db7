/**
 * `pnpm check:packages`: whether every package could be released. It packs them, examines the tarballs, and installs them
 * into empty projects. `--fix` writes what the convention fixes, and `--no-install` stops before the projects.
 */
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import { FileSystem } from "effect/FileSystem"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import * as Consumer from "./Consumer.ts"
import * as Convention from "./Convention.ts"
import * as Lint from "./Lint.ts"
import { imports, programs } from "./Programs.ts"
import * as Runtime from "./Runtime.ts"
import * as Tarball from "./Tarball.ts"
import { packages, readManifest, root } from "./Workspace.ts"

const project = readManifest(join(root, "package.json")) as unknown as Convention.Project

let failed = 0

/** Prints whether a check has passed, and if not, why. */
const report = (name: string, problems: ReadonlyArray<string>) => {
  if (problems.length > 0) failed++
  return Console.log(
    [`${problems.length === 0 ? "ok    " : "FAILED"}  ${name}`, ...problems].join("\n        ")
  )
}

const fix = Effect.sync(() => {
  for (const pkg of packages()) {
    const text = JSON.stringify(Convention.conventional(pkg, project, root), undefined, 2)
    writeFileSync(join(root, pkg.folder, "package.json"), `${text}\n`)
  }
})

const installed = Effect.fnUntraced(function* (packed: string, tarballs: ReadonlyArray<Tarball.Tarball>) {
  const files = yield* FileSystem
  const all = programs(tarballs)
  const project = Effect.fnUntraced(function* (manager: Consumer.Manager) {
    const folder = yield* files.makeTempDirectoryScoped({ prefix: `evenkeel-${manager}-` })
    yield* Consumer.install(manager, folder, packed, tarballs, all)
    return { manager, folder }
  })
  const runtimeFolder = yield* files.makeTempDirectoryScoped({ prefix: "evenkeel-runtimes-" })
  const [npm, pnpm, { found, missing }] = yield* Effect.all(
    [project("npm"), project("pnpm"), Runtime.install(runtimeFolder)],
    { concurrency: 2 }
  )
  for (const name of missing) yield* Console.log(`skipped  ${name}, which cannot be had here`)

  const env = yield* Consumer.simulator(npm.folder, [process.execPath])
  for (const runtime of found) {
    const suited = all.filter(({ undici = runtime.undici }) => undici === runtime.undici)
    const problems = yield* Effect.forEach(
      suited,
      (each) => Consumer.program(npm.folder, runtime, each, env),
      { concurrency: 2 }
    )
    const versions = yield* Consumer.commandVersions(npm.folder, runtime, tarballs)
    yield* report(`npm, ${runtime.name}: ${suited.length} programs`, [...problems.flat(), ...versions])
  }
  // How packages are laid out is pnpm's own; what they do once they are found is not, and has been seen above.
  for (const runtime of found) {
    yield* report(
      `pnpm, ${runtime.name}: imports`,
      yield* Consumer.program(pnpm.folder, runtime, imports(tarballs), env)
    )
  }
  for (const [{ folder, manager }, configuration] of [
    [pnpm, "nodenext"],
    [npm, "bundler"],
    [npm, "plain"]
  ] as const) {
    yield* report(`${manager}, types: ${configuration}`, yield* Consumer.typeCheck(folder, configuration))
  }
}, Effect.scoped)

const main = Effect.gen(function* () {
  if (process.argv.includes("--fix")) yield* fix
  for (const pkg of packages()) {
    yield* report(`${pkg.folder}/package.json`, Convention.problems(pkg, project, root))
  }
  const files = yield* FileSystem
  const packed = yield* files.makeTempDirectoryScoped({ prefix: "evenkeel-tarballs-" })
  const tarballs = yield* Tarball.pack(packages(), packed)
  for (const tarball of tarballs) {
    const problems = yield* Effect.promise(() => Lint.problems(tarball))
    yield* report(`${tarball.manifest.name}: ${tarball.files.size} files`, problems)
  }
  if (!process.argv.includes("--no-install")) yield* installed(packed, tarballs)
  if (failed > 0) process.exitCode = 1
}).pipe(Effect.scoped)

main.pipe(Effect.provide(NodeServices.layer), NodeRuntime.runMain)
