/**
 * The circuits of all scopes as one gate. A use meets up to five of them, and its outcome teaches those that it concerns.
 *
 * **Who is heard**
 *
 * A use is admitted at a sequence, the number of changes there have been, and a circuit hears only those that were
 * admitted after its own last change. So nothing that began in an older generation has a say, and one number fences off
 * five circuits. A use that has something to give back, the slots of probes or places in slow starts, is admitted under a
 * number of its own, from -1 down, and what it holds is written down under that number.
 */
import type { Breaker, Filter, Outcome } from "@evenkeel/core"
import * as Duration from "effect/Duration"
import type { Book, Ticket } from "./cell.ts"
import { Cells, unknownOwner } from "./cells.ts"
import type { Settings } from "./settings.ts"

export interface Circuits {
  readonly breaker: Breaker.Breaker
  readonly scopes: Readonly<Record<Outcome.FaultScope, Cells>>
  /** All of them, those that refuse every key first. */
  readonly all: ReadonlyArray<Cells>
  readonly book: Book
}

/** A server that asks for days is obeyed for an hour; then one request may ask again. */
const maxRetryAfter = 3_600_000

export const make = (settings: Readonly<Record<Outcome.FaultScope, Settings>>): Circuits => {
  const book: Book = { sequence: 0, tell: undefined, share: undefined }
  const cellsOf = (scope: Outcome.FaultScope) => new Cells(scope, settings[scope], book)
  const scopes = {
    host: cellsOf("host"),
    upstream: cellsOf("upstream"),
    account: cellsOf("account"),
    workspace: cellsOf("workspace"),
    key: cellsOf("key")
  }
  const all = Object.values(scopes)
  const tickets = new Map<Breaker.Admission, Ticket>()
  let lastTicket = 0

  const filter: Breaker.Breaker["filter"] = (candidate, context) => {
    let no: Filter.Ineligible | undefined
    for (const cells of all) {
      const verdict = cells.on(cells.troubled, candidate, context)?.blocks(context.nowMillis)
      if (verdict !== undefined) no = no === undefined ? verdict : graver(no, verdict)
    }
    return no
  }

  const admit: Breaker.Breaker["admit"] = (candidate, context) => {
    const { nowMillis } = context
    let ticket: Ticket | undefined
    for (const cells of all) {
      const cell = cells.on(cells.troubled, candidate, context)
      if (cell === undefined || !cell.holds(nowMillis)) continue
      if (ticket === undefined) {
        ticket = { keyId: candidate.id, at: book.sequence, probes: [], warms: [] }
        tickets.set(--lastTicket, ticket)
      }
      cell.hold(lastTicket, ticket, nowMillis)
    }
    return ticket === undefined ? book.sequence : lastTicket
  }

  const record: Breaker.Breaker["record"] = (candidate, context, admission, outcome, nowMillis) => {
    const ticket = admission < 0 ? tickets.get(admission) : undefined
    // Its key has left, and all that it held was given back then.
    if (admission < 0 && ticket === undefined) return
    const at = ticket?.at ?? admission
    try {
      if (outcome._tag === "Success") {
        for (let i = 0; i < all.length; i++)
          all[i]!.on(all[i]!.all, candidate, context)?.succeeded(admission, at, nowMillis)
      } else if (outcome._tag === "Faulted") {
        const cells = scopes[outcome.scope]
        if (!cells.settings.counts(outcome)) return
        const cell = cells.blamed(candidate, context, outcome, at)
        cell?.failed(admission, at, retryAfterMillis(outcome), context.random, nowMillis)
      }
    } finally {
      // Whatever a policy of the user's own may do, a slot is given back.
      if (ticket !== undefined) giveBack(admission, ticket, outcome._tag === "Success", nowMillis)
    }
  }

  const giveBack = (
    admission: Breaker.Admission,
    ticket: Ticket,
    succeeded: boolean,
    nowMillis: number
  ): void => {
    tickets.delete(admission)
    for (const cell of ticket.probes) cell.release(admission)
    for (const warm of ticket.warms) warm.settle(succeeded, nowMillis)
  }

  const forget: Breaker.Breaker["forget"] = (id) => {
    for (const [admission, ticket] of tickets) if (ticket.keyId === id) giveBack(admission, ticket, false, 0)
    scopes.key.forget(id)
    scopes.account.forget(unknownOwner(id))
    scopes.workspace.forget(unknownOwner(id))
  }

  return { breaker: { name: "circuit-breaker", filter, admit, record, forget }, scopes, all, book }
}

/** A fact before a guess, which may be overlooked; and then what lasts longer. */
const graver = (a: Filter.Ineligible, b: Filter.Ineligible): Filter.Ineligible => {
  const guess = a.soft === true
  if (guess !== (b.soft === true)) return guess ? b : a
  return (b.until ?? Infinity) > (a.until ?? Infinity) ? b : a
}

const retryAfterMillis = ({ retryAfter }: Outcome.Faulted): number =>
  retryAfter === undefined ? 0 : Math.min(Duration.toMillis(retryAfter), maxRetryAfter)
