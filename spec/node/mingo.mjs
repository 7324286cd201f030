// SPDX-License-Identifier: Apache-2.0
// Runs a script of spec/fuzz/script.lua through mingo: node mingo.mjs SCRIPT ANSWERS
import { readFileSync, writeFileSync } from "node:fs";
import mingo from "mingo";

const answers = [];
let rows = new Map();

function ask(body) {
    try {
        const query = new mingo.Query(body.filter);
        const ids = [];
        for (const [id, metadata] of rows) {
            if (query.test(metadata)) ids.push(id);
        }
        return ids.sort().join(" ");
    } catch (problem) {
        return `!${problem.message.split("\n")[0]}`;
    }
}

const operations = {
    world: () => { rows = new Map(); },
    register: (body) => { for (const row of body) rows.set(row.id, row.metadata); },
    unregister: (body) => { rows.delete(body.id); },
    mongo: (body) => { answers.push(ask(body)); },
    query: () => { answers.push("-"); },
    timed: () => { answers.push("-"); },
};

for (const line of readFileSync(process.argv[2], "utf8").split("\n")) {
    if (line === "") continue;
    const [name, json] = line.split("\t");
    operations[name](json ? JSON.parse(json) : undefined);
}
writeFileSync(process.argv[3], answers.map((line) => `${line}\n`).join(""));
