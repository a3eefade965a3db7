/**
 * The circuits of one scope, made at their first fault and kept within bounds.
 */
import type { Breaker, Candidate, Outcome } from "@evenkeel/core"
import { Cell, type Book } from "./cell.ts"
import type { Settings } from "./settings.ts"

/**
 * Circuits of a scope at a time, except for keys, whose circuits go with them: ids of upstreams come with requests, and
 * nobody says when an account or a workspace is gone.
 */
const mostCells = 1024

/** The account or workspace of a key where it is not known, as the pool names it. */
export const unknownOwner = (keyId: string): string => `key:${keyId}`

export class Cells {
  readonly scope: Outcome.FaultScope
  readonly settings: Settings
  readonly all = new Map<string, Cell>()
  /** Those that are not closed, or in a slow start: nearly always none, so all else is seldom looked up. */
  readonly troubled = new Map<string, Cell>()
  /** Whoever was admitted before a circuit last changed must not meet a new one of the same name. */
  private floor = 0
  private readonly book: Book

  constructor(scope: Outcome.FaultScope, settings: Settings, book: Book) {
    this.scope = scope
    this.settings = settings
    this.book = book
  }

  /** The one of the circuits that lies on the way of a use, if there is one. */
  on(
    cells: ReadonlyMap<string, Cell>,
    candidate: Candidate.Candidate,
    context: Candidate.PickContext
  ): Cell | undefined {
    if (cells.size === 0) return undefined
    const id = this.idOf(candidate, context)
    return id === undefined ? undefined : cells.get(id)
  }

  /** The circuit that a fault belongs to, made if need be; `at` is the sequence at which the use was admitted. */
  blamed(
    candidate: Candidate.Candidate,
    context: Candidate.PickContext,
    outcome: Outcome.Faulted,
    at: Breaker.Admission
  ): Cell | undefined {
    // The answer may be the first to tell whose key it is; the pool takes its word too.
    const told = this.scope === "account" && candidate.account === undefined ? outcome.account : undefined
    const id = told ?? this.idOf(candidate, context)
    if (id === undefined) return undefined
    return this.all.get(id) ?? (at < this.floor ? undefined : this.get(id))
  }

  get(id: string): Cell {
    let cell = this.all.get(id)
    if (cell === undefined) {
      if (this.scope !== "key" && this.all.size >= mostCells) this.letGo()
      cell = new Cell({ scope: this.scope, id }, this.settings, this.book, this.troubled)
      this.all.set(id, cell)
    }
    return cell
  }

  forget(id: string): void {
    const cell = this.all.get(id)
    if (cell === undefined) return
    this.floor = Math.max(this.floor, cell.changed)
    this.all.delete(id)
    this.troubled.delete(id)
  }

  /** A closed one goes first, else the one whose time is up soonest. */
  private letGo(): void {
    let soonest: Cell | undefined
    for (const cell of this.all.values()) {
      if (soonest === undefined || cell.until < soonest.until) soonest = cell
      if (soonest.closed) break
    }
    if (soonest !== undefined) this.forget(soonest.circuit.id)
  }

  private idOf(candidate: Candidate.Candidate, context: Candidate.PickContext): string | undefined {
    switch (this.scope) {
      case "key":
        return candidate.id
      case "workspace":
        return candidate.workspace ?? unknownOwner(candidate.id)
      case "account":
        return candidate.account ?? unknownOwner(candidate.id)
      case "upstream":
        return context.upstream
      case "host":
        return "host"
    }
  }
}
