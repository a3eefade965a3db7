/**
 * Real processes that share keys through a real Redis.
 */
import { Effect } from "effect"
import { fork, type ChildProcess } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import type { Setup } from "./worker.ts"

const worker = fileURLToPath(new URL("worker.ts", import.meta.url))

/** One process of the fleet. */
export class Process {
  readonly child: ChildProcess
  readonly name: Promise<string>
  private readonly answers = new Map<
    number,
    { resolve: (value: any) => void; reject: (error: Error) => void }
  >()
  private asked = 0

  constructor(setup: Setup) {
    this.child = fork(worker, [JSON.stringify(setup)], {
      execArgv: ["--conditions=@evenkeel/source", "--no-warnings"],
      stdio: ["ignore", "inherit", "inherit", "ipc"]
    })
    this.name = new Promise((resolve, reject) => this.answers.set(0, { resolve, reject }))
    this.child.on("message", ({ id, result, error }: any) => {
      const answer = this.answers.get(id)
      this.answers.delete(id)
      if (error === undefined) answer?.resolve(result)
      else answer?.reject(new Error(error))
    })
    this.child.on("exit", (code) => {
      for (const { reject } of this.answers.values()) reject(new Error(`The process ended with ${code}`))
      this.answers.clear()
    })
  }

  ask<A = any>(operation: string, argument?: unknown): Effect.Effect<A> {
    return Effect.promise(
      () =>
        new Promise<A>((resolve, reject) => {
          const id = ++this.asked
          this.answers.set(id, { resolve, reject })
          this.child.send({ id, operation, argument })
        })
    )
  }

  /** Stops it where it is, as a machine that sleeps would, and lets it go on. */
  freeze(): void {
    this.child.kill("SIGSTOP")
  }

  thaw(): void {
    this.child.kill("SIGCONT")
  }

  /** Ends it as the kernel would: without a word. */
  kill(signal: NodeJS.Signals = "SIGKILL"): Effect.Effect<void> {
    return Effect.promise(async () => {
      if (this.child.exitCode !== null || this.child.signalCode !== null) return
      const exit = once(this.child, "exit")
      this.child.kill(signal)
      await exit
    })
  }
}

/** So many processes of one setup, until the scope closes. */
export const fleet = (count: number, setup: Setup) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const processes = Array.from({ length: count }, () => new Process(setup))
      await Promise.all(processes.map(({ name }) => name))
      return processes
    }),
    (processes) => Effect.forEach(processes, (process) => process.kill(), { concurrency: "unbounded" })
  )

export const all = <A = any>(processes: ReadonlyArray<Process>, operation: string, argument?: unknown) =>
  Effect.all(
    processes.map((process) => process.ask<A>(operation, argument)),
    { concurrency: "unbounded" }
  )

/** Sums by key. */
export const sum = (counts: ReadonlyArray<Readonly<Record<string, number>>>): Record<string, number> => {
  const total: Record<string, number> = {}
  for (const count of counts) for (const [id, n] of Object.entries(count)) total[id] = (total[id] ?? 0) + n
  return total
}

export const keys = (names: string, traits: object = {}) =>
  names.split(" ").map((id, i) => ({ ...traits, id, secret: `sk-secret${i + 1}of${id}` }))
