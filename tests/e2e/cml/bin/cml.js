#!/usr/bin/env node
// Stands in for `cml comment update` of CML 0.20.6 on GitHub: the same arguments, the same requests, the same choice.
const fs = require('fs');
const { parseArgs } = require('util');

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    driver: { type: 'string' }, repo: { type: 'string' }, target: { type: 'string' },
    publish: { type: 'string', default: 'true' }, 'watermark-title': { type: 'string', default: '' },
  },
});
const [noun, verb, file, ...more] = positionals;
if (noun !== 'comment' || verb !== 'update' || !file || more.length || values.driver !== 'github')
  throw new Error(`usage: cml comment update --driver github … FILE, not ${process.argv.slice(2).join(' ')}`);
if (values.publish !== 'false') throw new Error('cml would upload every local file that the report links to');
for (const name of ['LOCKGATE_PUSH_TOKEN', 'GITHUB_TOKEN', 'ACTIONS_RUNTIME_TOKEN'])
  if (process.env[name]) throw new Error(`${name} reaches cml`);

const { host, pathname } = new URL(values.repo);
const api = `https://${host}/api/v3/repos${pathname}`;
const number = values.target.replace(/^pr\//, '');

async function ask(method, path, content) {
  const answer = await fetch(`${api}${path}`, {
    method, headers: { Authorization: `token ${process.env.REPO_TOKEN}` }, body: content && JSON.stringify(content),
  });
  if (!answer.ok) throw new Error(`HttpError: ${answer.status} ${method} ${path}`);
  // as Octokit does: what is not declared to be JSON stays a text
  return (answer.headers.get('content-type') || '').includes('application/json') ? answer.json() : answer.text();
}

const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
const title = `CML watermark ${values['watermark-title']}`.trim();
const seen = new RegExp(`!\\[\\]\\(https://cml\\.dev/watermark\\.png#[0-9a-fA-F]+ "${escaped(title)}"\\)`);

(async () => {
  const body = `${fs.readFileSync(file, 'utf-8')}\n\n![](https://cml.dev/watermark.png#${process.env.GITHUB_SHA} "${title}")`;
  const comments = (await ask('GET', `/issues/${number}/comments`)).map(({ id, body }) => ({ id, body }));
  const comment = comments.reverse().find(({ body }) => seen.test(body));
  const { html_url: url } = comment
    ? await ask('PATCH', `/issues/comments/${comment.id}`, { body })
    : await ask('POST', `/issues/${number}/comments`, { body });
  console.log(url);
})().catch((error) => {
  console.error(String(error));
  process.exit(1);
});
