// Makes the docs site:
//
//   node packages/site/src/main.ts build    into packages/site/dist
//   node packages/site/src/main.ts dev      and serves it, with each change as it is saved
//   node packages/site/src/main.ts api      the pages of the API reference alone
import { rmSync } from "node:fs"
import { join } from "node:path"
import { build, createServer } from "vitepress"
import { writeApi } from "./api.ts"
import { generated, root } from "./repository.ts"
import { writeSources } from "./sources.ts"

const site = join(root, "packages/site")
const [command = "build"] = process.argv.slice(2)

rmSync(join(root, generated), { recursive: true, force: true })
await writeApi()
if (command !== "api") writeSources()
if (command === "build") await build(site)
if (command === "dev") {
  const server = await createServer(site)
  await server.listen()
  server.printUrls()
}
