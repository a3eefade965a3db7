/**
 * An empty project that installs the tarballs, and what it does with them.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { type Program, types } from "./Programs.ts"
import type { Runtime } from "./Runtime.ts"
import * as Shell from "./Shell.ts"
import { commands, fileOf, type Tarball } from "./Tarball.ts"
import { readManifest, root } from "./Workspace.ts"

export type Manager = "npm" | "pnpm"

/** The installed version of what the project itself uses, so that a user's project has the same. */
const versionOf = (name: string) => readManifest(join(root, "node_modules", name, "package.json")).version

const compilerOptions = {
  noEmit: true,
  strict: true,
  target: "ES2023",
  types: ["node"]
}

/**
 * Both ways of resolution, with the declarations of all packages checked: effect's own pass only with the types of the DOM,
 * and with `exactOptionalPropertyTypes` once a provider has added to its metadata. Then what a server's project often has.
 */
const configurations = {
  nodenext: { module: "NodeNext", exactOptionalPropertyTypes: true, skipLibCheck: false },
  bundler: {
    module: "ESNext",
    moduleResolution: "bundler",
    exactOptionalPropertyTypes: true,
    skipLibCheck: false
  },
  plain: { module: "ESNext", moduleResolution: "bundler", lib: ["ES2024"], skipLibCheck: true }
}

export type Configuration = keyof typeof configurations

/** Lays a project out in a folder and installs it. */
export const install = Effect.fnUntraced(function* (
  manager: Manager,
  folder: string,
  packed: string,
  tarballs: ReadonlyArray<Tarball>,
  programs: ReadonlyArray<Program>
) {
  const write = (file: string, text: string) => writeFileSync(join(folder, file), text)
  const ours = Object.fromEntries(
    tarballs.map(({ manifest }) => [manifest.name, `file:${fileOf(packed, manifest)}`])
  )
  const others = ["effect", "@effect/platform-node", "@types/node", "typescript"]
  write(
    "package.json",
    JSON.stringify({
      private: true,
      type: "module",
      dependencies: { ...Object.fromEntries(others.map((name) => [name, versionOf(name)])), ...ours }
    })
  )
  for (const { code, file } of programs) write(file, code)
  write("types.ts", types(tarballs))
  for (const [name, options] of Object.entries(configurations)) {
    const include = ["*.ts"]
    write(
      `tsconfig.${name}.json`,
      JSON.stringify({ compilerOptions: { ...compilerOptions, ...options }, include })
    )
  }
  if (manager === "npm") {
    yield* Shell.run(["npm", "install", "--no-audit", "--no-fund"], { cwd: folder })
  } else {
    // What a package depends on is not in the registry yet.
    write("pnpm-workspace.yaml", JSON.stringify({ overrides: ours }))
    yield* Shell.pnpm(["install", "--no-frozen-lockfile"], { cwd: folder })
  }
})

/** Runs a command, and answers with what is wrong. */
const runs = (command: ReadonlyArray<string>, prints: RegExp, options: Shell.Options) =>
  Shell.run(command, options).pipe(
    Effect.map((output) =>
      prints.test(output) ? [] : [`${command.join(" ")} printed\n${output}\nand not ${prints}`]
    ),
    Effect.catch((error) => Effect.succeed([error.message]))
  )

/** Runs a program, and answers with what is wrong. */
export const program = (folder: string, runtime: Runtime, { file, prints }: Program, env: Environment) =>
  runs([...runtime.command, file], prints, { cwd: folder, env })

/** Asks each command that the packages bring for its version, which must be the package's. */
export const commandVersions = (folder: string, runtime: Runtime, tarballs: ReadonlyArray<Tarball>) =>
  Effect.forEach(tarballs, (tarball) => {
    const { name, version } = tarball.manifest
    return Effect.forEach(commands(tarball), (file) =>
      runs(
        [...runtime.command, join("node_modules", name, file), "--version"],
        new RegExp(`\\bv?${version}\\b`),
        { cwd: folder }
      )
    )
  }).pipe(Effect.map((all) => all.flat(2)))

/** Type-checks the programs, and an import of every entry point. */
export const typeCheck = (folder: string, configuration: Configuration) =>
  runs([join(folder, "node_modules/.bin/tsc"), "-p", `tsconfig.${configuration}.json`], /^$/, { cwd: folder })

/** The environment of a program that speaks to OpenRouter. */
export type Environment = Readonly<Record<string, string>>

/** Starts the simulator that the project has installed, until the scope ends. */
export const simulator = Effect.fnUntraced(function* (folder: string, node: ReadonlyArray<string>) {
  const file = join("node_modules", "@evenkeel/testkit/dist/bin.js")
  const command = [...node, file, "--port", "0", "--latency", "1"]
  const handle = yield* Shell.start(command, { cwd: folder })
  const printed = yield* handle.all.pipe(
    Stream.decodeText(),
    Stream.splitLines,
    Stream.takeUntil((line) => line.startsWith("Press")),
    Stream.mkString,
    Effect.timeout("30 seconds")
  )
  const environment: Environment = {
    OPENROUTER_BASE_URL: /http:[^ ]+?\/v1/.exec(printed)?.[0] ?? "",
    OPENROUTER_KEYS: Array.from(printed.matchAll(/sk-or-v1-simulated-[0-9a-f]{8}/g), ([key]) => key).join(",")
  }
  return environment
})
