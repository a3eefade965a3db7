/**
 * `pnpm bench:profile chat calls`: where the time of a client goes, by area and by function, in microseconds a request.
 *
 * The profiler costs as much as what it watches, so the parts are to be compared with each other, and not with a clock.
 */
import { Session } from "node:inspector/promises"
import { clients, type Name } from "./clients/index.ts"
import { upstream } from "./run.ts"

const [name = "chat", kind = "calls", requests = "40000"] = process.argv.slice(2)
const total = Number(requests)
const server = await upstream()
const client = await (await clients[name as Name].load())(`${server.url}/v1`)
const one = (turn: number) => (kind === "streams" ? client.stream!(turn) : client.call(turn))
const run = async (count: number): Promise<void> => {
  let turn = 0
  const lane = async () => {
    while (turn < count) await one(turn++)
  }
  await Promise.all(Array.from({ length: 64 }, lane))
}

await run(total / 2)
const session = new Session()
session.connect()
await session.post("Profiler.enable")
await session.post("Profiler.setSamplingInterval", { interval: 500 })
await session.post("Profiler.start")
await run(total)
const { profile } = await session.post("Profiler.stop")

/** `effect/dist/internal/core.js`, `packages/core/src/internal/engine.ts`, `node:net`. */
const shortOf = (url: string): string =>
  url.replace(/^.*\/node_modules\//, "").replace(/^.*(?=packages\/)/, "")
const areaOf = (file: string, called: string): string => {
  if (file === "") return called.startsWith("(") ? called : "native code"
  return /^packages\/([^/]+)/.exec(file)?.[1] ?? /^(?:@[^/]+\/)?[^/:]+/.exec(file)![0]
}

const byArea = new Map<string, number>()
const byFunction = new Map<string, number>()
const nodes = new Map(profile.nodes.map((node) => [node.id, node.callFrame]))
profile.samples!.forEach((id, index) => {
  const { functionName, lineNumber, url } = nodes.get(id)!
  const file = shortOf(url)
  const micros = profile.timeDeltas![index]! / total
  const add = (sums: Map<string, number>, key: string) => sums.set(key, (sums.get(key) ?? 0) + micros)
  add(byArea, areaOf(file, functionName))
  if (file !== "") add(byFunction, `${functionName || "(anonymous)"} ${file}:${lineNumber + 1}`)
})

const print = (sums: ReadonlyMap<string, number>, most: number): void => {
  for (const [key, micros] of Array.from(sums)
    .toSorted(([, a], [, b]) => b - a)
    .slice(0, most))
    process.stdout.write(`${micros.toFixed(2).padStart(8)}  ${key}\n`)
}
process.stdout.write(`${name}, ${kind}: µs a request, by area\n`)
print(byArea, 20)
process.stdout.write("\nby function\n")
print(byFunction, 30)
server.stop()
await client.close()
process.exit()
