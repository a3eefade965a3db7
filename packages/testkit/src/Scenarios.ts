/**
 * Scenarios for the lab that come with it, and those of your own from files.
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import type { PlatformError } from "effect/PlatformError"
import { fileURLToPath } from "node:url"
import * as Lab from "./Lab.ts"

/** The sources are shipped, and `dist` stands beside them. */
const folder = fileURLToPath(new URL("../src/scenarios/", import.meta.url))

/**
 * The names of the scenarios that come with the lab, in the order of the alphabet.
 */
export const names: Effect.Effect<
  ReadonlyArray<string>,
  PlatformError,
  FileSystem.FileSystem
> = FileSystem.FileSystem.use((fs) =>
  Effect.map(fs.readDirectory(folder), (files) =>
    files
      .filter((file) => file.endsWith(".json"))
      .map((file) => file.slice(0, -".json".length))
      .toSorted()
  )
)

/**
 * A scenario by the name of one that comes with the lab, or by the path of a file that ends in `.json`.
 *
 * Fails with `InvalidScenario` where the file is no scenario, and names the field; and where no scenario has that name.
 *
 * **Example**
 *
 * ```ts
 * import { NodeFileSystem } from "@effect/platform-node"
 * import { Scenarios } from "@evenkeel/testkit"
 * import { Effect } from "effect"
 *
 * const scenario = Scenarios.load("storm-429").pipe(Effect.provide(NodeFileSystem.layer))
 * const { seconds } = await Effect.runPromise(scenario)
 * seconds // => 600
 * ```
 */
export const load = Effect.fnUntraced(function* (
  nameOrPath: string
): Effect.fn.Return<Lab.Scenario, Lab.InvalidScenario | PlatformError, FileSystem.FileSystem> {
  const fs = yield* FileSystem.FileSystem
  const isPath = nameOrPath.endsWith(".json")
  if (!isPath) {
    const known = yield* names
    if (!known.includes(nameOrPath)) {
      const problem = `Expected ${known.join(", ")}, or the path of a .json file, got ${JSON.stringify(nameOrPath)}`
      return yield* new Lab.InvalidScenario({ field: "scenario", problem })
    }
  }
  const path = isPath ? nameOrPath : `${folder}${nameOrPath}.json`
  const text = yield* fs.readFileString(path)
  const data = yield* Effect.try({
    try: () => JSON.parse(text) as unknown,
    catch: () => new Lab.InvalidScenario({ field: path, problem: "Expected a record as JSON" })
  })
  return yield* Lab.decode(data)
})
