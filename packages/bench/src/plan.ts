/**
 * What is measured, how often, and how much of it.
 */
import type { Kind } from "./cell.ts"
import type { Name } from "./clients/index.ts"

export interface Part {
  readonly kind: Kind
  readonly clients: ReadonlyArray<Name>
  /** Requests of a cell, behind those that warm it up. */
  readonly requests: number
  readonly rounds: number
}

const sdks = ["openai", "aiSdk", "openrouterSdk"] as const
const main = [
  "dispatch",
  "undici",
  "effect",
  "effectSilent",
  "leanSilent",
  "unbalanced",
  "chat",
  "openaiLean",
  ...sdks
] as const
const streaming = ["dispatch", "undici", "effect", "effectSilent", "leanSilent", "chat", "openai"] as const

/** Within two minutes on a quiet machine: enough to see which way a change goes. */
export const quick: ReadonlyArray<Part> = [
  {
    kind: "calls",
    clients: [
      "undici",
      "effect",
      "leanSilent",
      "unbalanced",
      "chat",
      "openai",
      "openaiLean",
      "openrouterSdk"
    ],
    requests: 3000,
    rounds: 2
  },
  { kind: "streams", clients: ["dispatch", "effect", "chat", "openai"], requests: 800, rounds: 2 },
  { kind: "balancing", clients: ["chat"], requests: 30_000, rounds: 1 },
  { kind: "allocation", clients: ["effect", "leanSilent", "unbalanced", "chat"], requests: 2000, rounds: 1 },
  { kind: "memory", clients: ["effect", "unbalanced", "chat"], requests: 512, rounds: 1 }
]

const every = [
  ...main,
  "lean",
  "chatNoDeadline",
  "chatTraced",
  "chatMeasured",
  "chatStandard",
  "openaiFetch"
] as const satisfies ReadonlyArray<Name>

/** All of it. */
export const full: ReadonlyArray<Part> = [
  { kind: "calls", clients: every, requests: 20_000, rounds: 5 },
  {
    kind: "streams",
    clients: [...streaming, "openaiLean", "aiSdk", "openrouterSdk"],
    requests: 4000,
    rounds: 5
  },
  { kind: "balancing", clients: ["chat"], requests: 100_000, rounds: 5 },
  { kind: "allocation", clients: every, requests: 2000, rounds: 3 },
  { kind: "streamAllocation", clients: streaming, requests: 500, rounds: 3 },
  { kind: "memory", clients: [...main, "chatStandard"], requests: 512, rounds: 3 },
  { kind: "crowd", clients: ["chat"], requests: 10_000, rounds: 1 },
  { kind: "soak", clients: ["chat"], requests: 1_000_000, rounds: 1 }
]
