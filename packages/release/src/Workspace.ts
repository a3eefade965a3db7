/**
 * The packages of this workspace that are published.
 */
import { globSync, readFileSync } from "node:fs"
import { dirname, join, resolve } from "node:path"

export const root = resolve(import.meta.dirname, "../../..")

/** The fields of a `package.json` that are read here; it may have any others. */
export interface Manifest {
  readonly [field: string]: unknown
  readonly name: string
  readonly version: string
  readonly private?: boolean
  readonly bin?: Readonly<Record<string, string>>
  readonly dependencies?: Readonly<Record<string, string>>
  readonly peerDependencies?: Readonly<Record<string, string>>
  readonly devDependencies?: Readonly<Record<string, string>>
}

export interface Package {
  /** Its folder from the root, as `packages/core`. */
  readonly folder: string
  readonly manifest: Manifest
}

export const readManifest = (path: string): Manifest => JSON.parse(readFileSync(path, "utf8"))

/** Every package that is not private, in the order of their names. */
export const packages = (): ReadonlyArray<Package> =>
  globSync("packages/*/package.json", { cwd: root })
    .toSorted()
    .map((path) => ({ folder: dirname(path), manifest: readManifest(join(root, path)) }))
    .filter(({ manifest }) => manifest.private !== true)
