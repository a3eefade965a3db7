/**
 * The output in the order of the input: what overtakes stays in the journal until its turn has come, and not in memory.
 */
import * as Effect from "effect/Effect"
import type { PlatformError } from "effect/PlatformError"
import type { Journal } from "./journal.ts"

/** About as much is written at a time. */
const portion = 64 * 1024

export class Ordered {
  private readonly journal: Pick<Journal, "entries" | "read">
  private readonly write: (text: string) => Effect.Effect<void, PlatformError>
  /** Lines of the input that have no line in the output yet, from `first` on. */
  private lines: Array<number> = []
  private first = 0
  /** Those of them that are not through. */
  private readonly pending = new Set<number>()

  constructor(
    journal: Pick<Journal, "entries" | "read">,
    write: (text: string) => Effect.Effect<void, PlatformError>
  ) {
    this.journal = journal
    this.write = write
  }

  /** The next line of the input, which is through already, or is going to be sent. */
  expect(line: number, pending: boolean): void {
    this.lines.push(line)
    if (pending) this.pending.add(line)
  }

  /** The line is through; writes all whose turn has come. One at a time. */
  done(line: number): Effect.Effect<void, PlatformError> {
    this.pending.delete(line)
    return this.flush((next) => !this.pending.has(next))
  }

  /** Writes all that has a record, and passes over what has none. One at a time. */
  get finish(): Effect.Effect<void, PlatformError> {
    return this.flush(() => true)
  }

  private flush(due: (line: number) => boolean): Effect.Effect<void, PlatformError> {
    return Effect.gen({ self: this }, function* () {
      let text = ""
      for (; this.first < this.lines.length; this.first++) {
        const line = this.lines[this.first]!
        if (!due(line)) break
        const entry = this.journal.entries.get(line)
        if (entry !== undefined) text += yield* this.journal.read(entry)
        if (text.length < portion) continue
        yield* this.write(text)
        text = ""
      }
      if (text !== "") yield* this.write(text)
      if (this.first > 1024 || this.first === this.lines.length) {
        this.lines.splice(0, this.first)
        this.first = 0
      }
    })
  }
}
