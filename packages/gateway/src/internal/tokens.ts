/**
 * Client tokens, compared in constant time.
 */
import * as Redacted from "effect/Redacted"
import { createHash, timingSafeEqual } from "node:crypto"

/** Whether what a client sent is one of the tokens. */
export type TokenCheck = (sent: string) => boolean

/**
 * Hashes are of one length, and say nothing of how much of a guess was right; and all tokens are looked at, so that the time
 * does not tell which of them it was.
 */
export const tokenCheck = (tokens: ReadonlyArray<Redacted.Redacted<string>>): TokenCheck => {
  const known = tokens.map((token) => hash(Redacted.value(token)))
  return (sent) => {
    const given = hash(sent)
    let found = false
    for (const one of known) found = timingSafeEqual(one, given) || found
    return found
  }
}

const hash = (text: string): Buffer => createHash("sha256").update(text).digest()
