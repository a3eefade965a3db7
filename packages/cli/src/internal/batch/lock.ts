/**
 * One process at a time: two on one journal would pay for everything twice.
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import { InvalidInput } from "../exit.ts"

/** Held until the scope closes. What a process left behind that has died is taken over. */
export const hold = Effect.fnUntraced(function* (path: string) {
  const fs = yield* FileSystem.FileSystem
  const create = fs.writeFileString(path, `${process.pid}\n`, { flag: "wx" })
  const take = create.pipe(
    Effect.catchReason("PlatformError", "AlreadyExists", () =>
      Effect.gen(function* () {
        const owner = Number.parseInt(yield* fs.readFileString(path), 10)
        if (alive(owner)) {
          const problem = `another run has it (process ${owner}); if there is none, remove ${path}`
          return yield* new InvalidInput({ source: "the journal", line: undefined, problem })
        }
        yield* fs.remove(path)
        return yield* create
      })
    )
  )
  yield* Effect.acquireRelease(take, () => Effect.ignore(fs.remove(path)))
})

const alive = (pid: number): boolean => {
  if (!(pid > 0)) return false
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // Another user's process cannot be told anything, and is there.
    return (error as NodeJS.ErrnoException).code === "EPERM"
  }
}
