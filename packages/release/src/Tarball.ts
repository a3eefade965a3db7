/**
 * What would be published: the workspace's packages, built and packed.
 */
import { createPackageFromTarballData } from "@arethetypeswrong/core"
import * as Effect from "effect/Effect"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import * as Shell from "./Shell.ts"
import { type Manifest, type Package, root } from "./Workspace.ts"

export interface Tarball {
  /** The `package.json` in it, which is not the one of the workspace: pnpm resolves ranges and applies `publishConfig`. */
  readonly manifest: Manifest
  /** Its files by their path from the package's folder. */
  readonly files: ReadonlyMap<string, string>
}

/** The tarball's file, as pnpm names it. */
export const fileOf = (folder: string, { name, version }: Manifest): string =>
  join(folder, `${name.replace("@", "").replace("/", "-")}-${version}.tgz`)

export const read = (path: string): Tarball => {
  const archive = createPackageFromTarballData(new Uint8Array(readFileSync(path)))
  const prefix = `/node_modules/${archive.packageName}/`
  const files = new Map(
    archive.listFiles().map((file) => [file.replace(prefix, ""), archive.readFile(file)] as const)
  )
  return { manifest: JSON.parse(files.get("package.json")!), files }
}

/** Builds all packages and packs them into a folder. */
export const pack = Effect.fnUntraced(function* (packages: ReadonlyArray<Package>, folder: string) {
  yield* Shell.run([join(root, "node_modules/.bin/tsc"), "-b", "tsconfig.build.json"], { cwd: root })
  const filters = packages.flatMap(({ manifest }) => ["--filter", manifest.name])
  yield* Shell.pnpm(["--recursive", ...filters, "pack", "--pack-destination", folder], { cwd: root })
  return packages.map(({ manifest }) => read(fileOf(folder, manifest)))
})

/** The modules that are commands, as `dist/bin.js`. */
export const commands = ({ manifest }: Tarball): ReadonlyArray<string> =>
  Object.values(manifest.bin ?? {}).map((path) => path.replace("./", ""))

/** What of it can be imported, as `.` and `./KeyPool`: of a package that is a command alone, nothing. */
export const entryPoints = (tarball: Tarball): ReadonlyArray<string> => {
  if (!("." in (tarball.manifest["exports"] as object))) return []
  return Array.from(tarball.files.keys())
    .filter((path) => /^dist\/.*\.js$/.test(path) && !path.startsWith("dist/internal/"))
    .filter((path) => !commands(tarball).includes(path))
    .map((path) => `./${path.slice("dist/".length, -".js".length)}`)
    .map((path) => (path === "./index" ? "." : path))
    .toSorted()
}
