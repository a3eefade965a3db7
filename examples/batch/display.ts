/**
 * The batch as a person sees it: a table that redraws itself on a terminal, plain lines elsewhere, and a summary.
 */
import type { KeyPool } from "@evenkeel/core"
import type { Batch } from "@evenkeel/openrouter"
import { Console, Effect, Fiber, Ref, Schedule, Stream, Terminal } from "effect"

type Counts = Batch.Counts

/** Shows the batch until it ends. */
export const show = Effect.fnUntraced(function* (
  progress: Stream.Stream<Batch.Progress>,
  snapshot: Effect.Effect<KeyPool.PoolSnapshot>
) {
  const last = yield* Ref.make<Counts | undefined>(undefined)
  const follow = Stream.runForEach(progress, (event) => Ref.set(last, event.progress))
  if (process.stdout.isTTY !== true) return yield* plainLines(progress)

  const terminal = yield* Terminal.Terminal
  let drawn = 0
  const draw = Effect.gen(function* () {
    const counts = yield* Ref.get(last)
    if (counts === undefined) return
    const lines = [...table(yield* snapshot), "", bar(counts)]
    // Back to the first line of the last drawing, and over it.
    const back = drawn === 0 ? "" : `\x1b[${drawn}A`
    yield* Effect.ignore(terminal.display(back + lines.map((line) => `\x1b[2K${line}\n`).join("")))
    drawn = lines.length
  })
  yield* Effect.race(follow, Effect.repeat(draw, Schedule.spaced("100 millis")))
  yield* draw
})

/** Waits until the last state has been shown. */
export const finished = (display: Fiber.Fiber<void, unknown>) => Effect.ignore(Fiber.join(display))

/** In a pipe: a line for every tenth of the batch. */
const plainLines = (progress: Stream.Stream<Batch.Progress>) => {
  let tenth = 0
  return Stream.runForEach(progress, ({ progress: counts }) => {
    const total = counts.total ?? 1
    const reached = Math.floor((10 * done(counts)) / total)
    if (reached <= tenth) return Effect.void
    tenth = reached
    return Console.log(
      `${done(counts)}/${total} done, ${counts.failed} failed, ${usd(counts.cost)}, ${seconds(counts.elapsedMillis)}`
    )
  })
}

const done = (counts: Counts) => counts.succeeded + counts.failed

const table = ({ keys, at }: KeyPool.PoolSnapshot): ReadonlyArray<string> => [
  row(["key", "account", "in flight", "done", "faults", "credit", "state"]),
  ...keys.map((key) =>
    row([
      key.id,
      short(key.account ?? "–"),
      `${key.inFlight}`,
      `${key.succeeded}`,
      `${key.faulted}`,
      key.credit === undefined ? "uncapped" : usd(key.credit),
      state(key, at)
    ])
  )
]

const widths = [12, 12, 9, 6, 6, 10, 30]
const row = (cells: ReadonlyArray<string>) =>
  cells
    .map((cell, i) => (i >= 2 && i <= 5 ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!)))
    .join("  ")
    .trimEnd()

const short = (text: string) => (text.length > 12 ? `${text.slice(0, 5)}…${text.slice(-6)}` : text)

const state = ({ ineligible, shortage }: KeyPool.KeySnapshot, now: number): string => {
  if (ineligible === undefined) return shortage === undefined ? "ready" : "low on credit"
  const scope = ineligible.scope === "key" || ineligible.scope === "request" ? "" : ` (${ineligible.scope})`
  const left = ineligible.until === undefined ? "" : `, ${seconds(ineligible.until - now)} left`
  return `${ineligible.reason}${scope}${left}`
}

const bar = (counts: Counts): string => {
  const total = counts.total ?? done(counts)
  const filled = total === 0 ? 0 : Math.round((40 * done(counts)) / total)
  const rate = counts.elapsedMillis === 0 ? 0 : (1000 * done(counts)) / counts.elapsedMillis
  return [
    `[${"█".repeat(filled)}${"░".repeat(40 - filled)}]`,
    `${done(counts)}/${total}`,
    `${counts.failed} failed`,
    `${rate.toFixed(1)}/s`,
    usd(counts.cost)
  ].join("  ")
}

/** What came of the batch, and how it was spread. */
export const summary = (
  results: ReadonlyArray<Batch.ChatItem>,
  { keys, at }: KeyPool.PoolSnapshot
): string => {
  const failures = new Map<string, number>()
  for (const { result } of results) {
    if (result._tag === "Success") continue
    const kind =
      result.failure._tag === "OpenRouterError" ? result.failure.reason.message : result.failure.message
    failures.set(kind, (failures.get(kind) ?? 0) + 1)
  }
  const failed = [...failures.values()].reduce((a, b) => a + b, 0)
  const most = Math.max(1, ...keys.map((key) => key.succeeded))
  const spent = keys.reduce((sum, key) => sum + key.spent, 0)
  return [
    "",
    `${results.length} prompts: ${results.length - failed} answered, ${failed} failed, ${usd(spent)}`,
    ...[...failures].map(([kind, count]) => `  ${count} × ${kind}`),
    "",
    ...keys.map((key) =>
      [
        key.id.padEnd(12),
        "█".repeat(Math.round((40 * key.succeeded) / most)).padEnd(40),
        `${key.succeeded}`.padStart(5),
        `${key.faulted} faults`.padStart(10),
        state(key, at)
      ].join("  ")
    )
  ].join("\n")
}

const usd = (amount: number) => `$${amount.toFixed(5)}`
const seconds = (millis: number) => `${(Math.max(0, millis) / 1000).toFixed(1)} s`
