/**
 * What came of a batch, for people and for machines.
 */
import { duration, usd } from "../format.ts"
import type { Tally } from "./progress.ts"
import type { Settled } from "./record.ts"
import type { Stop } from "./run.ts"

/** What a key did in this run. */
interface KeyCounts {
  succeeded: number
  failed: number
  cost: number
}

/** Collects what happens in one run; bounded by the number of keys and of classes of failures. */
export class Summary {
  private readonly keys = new Map<string, KeyCounts>()
  private readonly failures = new Map<string, number>()
  private sent = 0

  through({ cost, ok, record }: Settled): void {
    this.sent++
    if (record.error !== null) {
      this.failures.set(record.error.code, (this.failures.get(record.error.code) ?? 0) + 1)
    }
    if (record.key === null) return
    const counts = this.keys.get(record.key) ?? { succeeded: 0, failed: 0, cost: 0 }
    counts[ok ? "succeeded" : "failed"]++
    counts.cost += cost
    this.keys.set(record.key, counts)
  }

  json(tally: Tally, stop: Stop | undefined, elapsedMillis: number, exitCode: number) {
    return {
      total: tally.total ?? null,
      succeeded: tally.succeeded,
      failed: tally.failed,
      sent: this.sent,
      cost: tally.cost,
      elapsed_ms: elapsedMillis,
      failures: Object.fromEntries(this.failures),
      keys: Object.fromEntries(this.keys),
      stopped: stop === undefined ? null : names[stop._tag],
      exit_code: exitCode
    }
  }

  text(tally: Tally, elapsedMillis: number): string {
    const done = tally.succeeded + tally.failed
    const before = done - this.sent
    const head = `${tally.succeeded} answered${before === 0 ? "" : ` (${before} of them before)`}, ${tally.failed} failed`
    const left = (tally.total ?? done) - done
    return [
      `${head}${left === 0 ? "" : `, ${left} not sent`}; ${usd(tally.cost)} in ${duration(elapsedMillis)}`,
      ...Array.from(this.failures, ([code, count]) => `  ${count} × ${code}`)
    ].join("\n")
  }
}

const names = {
  Budget: "budget",
  NoKey: "no-key",
  Signal: "signal",
  Input: "input",
  File: "file"
} as const satisfies Record<Stop["_tag"], string>
