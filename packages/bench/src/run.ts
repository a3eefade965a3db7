/**
 * Processes of a benchmark: the upstream, and one for each measurement, on cores of their own where there are two.
 */
import { fork, spawnSync, type ChildProcess } from "node:child_process"
import { availableParallelism } from "node:os"
import { join } from "node:path"
import type { Figures, Kind } from "./cell.ts"
import type { Name } from "./clients/index.ts"

/** Whether processes can be pinned here. */
export const pins = availableParallelism() > 1 && spawnSync("taskset", ["-V"]).status === 0

const start = (
  file: string,
  args: ReadonlyArray<string>,
  core: number,
  flags: ReadonlyArray<string>
): ChildProcess => {
  const path = join(import.meta.dirname, file)
  const execArgv = ["--conditions=@evenkeel/source", "--no-warnings", ...flags]
  return pins
    ? fork(path, args, { execPath: "taskset", execArgv: ["-c", String(core), process.execPath, ...execArgv] })
    : fork(path, args, { execArgv })
}

const message = <A>(child: ChildProcess, what: string): Promise<A> =>
  new Promise((resolve, reject) => {
    child.once("message", (value) => resolve(value as A))
    child.once("error", reject)
    child.once("exit", (code) => reject(new Error(`${what} ended with ${code} and told nothing`)))
  })

export interface Upstream {
  readonly url: string
  readonly stop: () => void
}

/** Starts the upstream, on the second core. */
export const upstream = async (): Promise<Upstream> => {
  const child = start("upstream.ts", [], 1, [])
  const { port } = await message<{ readonly port: number }>(child, "the upstream")
  return { url: `http://127.0.0.1:${port}`, stop: () => child.disconnect() }
}

const flagsOf = (kind: Kind): ReadonlyArray<string> => {
  switch (kind) {
    case "allocation":
    case "streamAllocation":
      return ["--expose-gc", "--min-semi-space-size=1024", "--max-semi-space-size=1024"]
    case "memory":
    case "crowd":
    case "soak":
      return ["--expose-gc"]
    default:
      return []
  }
}

/** Measures in a process of its own, on the first core. */
export const cell = (kind: Kind, name: Name, url: string, total: number): Promise<Figures> =>
  message(start("cell.ts", [kind, name, url, String(total)], 0, flagsOf(kind)), `${kind} of ${name}`)

/** A module that measures within its process, as `micro/*.ts` do. */
export const micro = <A>(file: string, ...args: ReadonlyArray<string>): Promise<A> =>
  message(start(file, args, 0, ["--expose-gc"]), file)
