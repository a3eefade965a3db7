/**
 * One measurement in a process of its own: `cell.ts <kind> <client> <url> <requests>`, its figures as JSON to the parent.
 */
import { clients, type Name } from "./clients/index.ts"
import type { Client } from "./Client.ts"
import { median, percentile } from "./statistics.ts"

export type Kind =
  | "calls"
  | "streams"
  | "balancing"
  | "allocation"
  | "streamAllocation"
  | "memory"
  | "crowd"
  | "soak"
export type Figures = Readonly<Record<string, number>>

const lanes = 64

/** A closed loop: as many lanes as said, each with one request at a time. */
const run = async (total: number, width: number, one: (turn: number) => Promise<unknown>): Promise<void> => {
  let turn = 0
  const lane = async () => {
    while (turn < total) await one(turn++)
  }
  await Promise.all(Array.from({ length: width }, lane))
}

const collect = () => {
  const { gc } = globalThis as { readonly gc?: () => void }
  gc?.()
  gc?.()
}
const heap = () => {
  const { external, heapUsed } = process.memoryUsage()
  return heapUsed + external
}
const checked = (text: string, expected: string): void => {
  if (!text.includes(expected)) throw new Error(`wrong answer: ${text}`)
}
const call = (client: Client) => async (turn: number) => checked(await client.call(turn), "rights the ship")
const stream =
  (client: Client, first?: () => void) =>
  async (turn: number): Promise<void> =>
    checked(
      await client.stream!(turn, first),
      "word00 word01 word02 word03 word04 word05 word06 word07 word08 word09"
    )

/** CPU of all threads, rate, and latency. */
const timed = async (total: number, one: (turn: number) => Promise<unknown>): Promise<Figures> => {
  const latencies = new Float64Array(total)
  const cpu = process.cpuUsage()
  const begun = performance.now()
  await run(total, lanes, async (turn) => {
    const at = performance.now()
    await one(turn)
    latencies[turn] = performance.now() - at
  })
  const elapsed = performance.now() - begun
  const { system, user } = process.cpuUsage(cpu)
  latencies.sort()
  return {
    cpu: (user + system) / total,
    rate: (total / elapsed) * 1000,
    p50: percentile(latencies, 0.5) * 1000,
    p99: percentile(latencies, 0.99) * 1000,
    rss: process.resourceUsage().maxRSS / 1024
  }
}

/** With a young generation so large that nothing is collected in between, what is used more was allocated. */
const allocated = async (total: number, one: (turn: number) => Promise<unknown>): Promise<Figures> => {
  collect()
  const before = process.memoryUsage().heapUsed
  await run(total, lanes, one)
  return { bytes: (process.memoryUsage().heapUsed - before) / total }
}

const ask = async (url: string, path: string): Promise<{ readonly held: number }> =>
  (await fetch(new URL(path, url), { method: path === "/release" ? "POST" : "GET" })).json() as Promise<{
    readonly held: number
  }>

/** What requests hold while their answers are out. */
const inFlight = async (client: Client, url: string, total: number): Promise<Figures> => {
  const one = call(client)
  const burst = async () => {
    const all = Promise.all(Array.from({ length: total }, (_, turn) => one(turn)))
    while ((await ask(url, "/count")).held < total) await new Promise((resume) => setTimeout(resume, 20))
    collect()
    const now = heap()
    await ask(url, "/release")
    await all
    return now
  }
  // Connections are made, and stay, in the first burst.
  await burst()
  await burst()
  collect()
  const before = heap()
  return { bytes: ((await burst()) - before) / total, requests: total }
}

/** What a client costs more than another one, CPU per request: both in one process, in turn, in ten blocks each. */
const beside = async (client: Client, other: Client, total: number): Promise<Figures> => {
  const block = total / 20
  const cost = async (each: Client): Promise<number> => (await timed(block, call(each)))["cpu"]!
  for (const each of [client, other]) await run(4 * block, lanes, call(each))
  const more: Array<number> = []
  for (let turn = 0; turn < 10; turn++) {
    const [first, second] = turn % 2 === 0 ? [client, other] : [other, client]
    const difference = (await cost(first)) - (await cost(second))
    more.push(turn % 2 === 0 ? difference : -difference)
  }
  return { cpu: median(more) }
}

const soak = async (client: Client, total: number): Promise<Figures> => {
  const one = call(client)
  const parts = 10
  const heaps: Array<number> = []
  await run(total / 20, lanes, one)
  for (let i = 0; i < parts; i++) {
    await run(total / parts, lanes, one)
    collect()
    heaps.push(heap())
  }
  return { requests: total, first: heaps[0]!, last: heaps.at(-1)!, most: Math.max(...heaps) }
}

const measure = async (kind: Kind, client: Client, url: string, total: number): Promise<Figures> => {
  switch (kind) {
    case "calls": {
      await run(Math.max(4000, total / 4), lanes, call(client))
      return timed(total, call(client))
    }
    case "streams": {
      await run(Math.max(1000, total / 4), lanes, stream(client))
      let begun = 0
      let first = 0
      // The first chunk is timed with one stream at a time: with many, it waits for its turn on the core.
      for (let turn = 0; turn < 100; turn++) {
        begun = performance.now()
        await stream(client, () => (first += performance.now() - begun))(turn)
      }
      return { ...(await timed(total, stream(client))), first: first * 10 }
    }
    case "balancing":
      return beside(client, await (await clients.unbalanced.load())(`${url}/v1`), total)
    case "allocation": {
      await run(2000, lanes, call(client))
      return allocated(total, call(client))
    }
    case "streamAllocation": {
      await run(500, lanes, stream(client))
      return allocated(total, stream(client))
    }
    case "memory":
    case "crowd":
      return inFlight(client, url, total)
    case "soak":
      return soak(client, total)
  }
}

const [kind, name, url, total] = process.argv.slice(2) as [Kind, Name, string, string]
const loading = performance.now()
const make = await clients[name].load()
const client = await make(kind === "memory" || kind === "crowd" ? `${url}/hold/v1` : `${url}/v1`)
const loaded = performance.now() - loading
process.send!({ ...(await measure(kind, client, url, Number(total))), loaded }, () => process.exit())
