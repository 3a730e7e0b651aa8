// Node into a pipe.
//
//   mkfifo -m 0660 /run/standpipe/app; chown app:standpipe /run/standpipe/app
//   ln -s /run/standpipe/app /etc/standpipe/pipes.d/
//   node node.js [LINES]
//
// Start: holder, reader, this. Stop: this, reader, holder.
//
// A stream keeps lines in memory while the pipe is full, so heed `write`'s answer, and end the stream before the process:
// process.exit() would lose what is still in it. pino, winston: a destination that is a file, without rotation.
'use strict';
const fs = require('fs');
const { once } = require('events');

async function main(lines) {
    const log = fs.createWriteStream('/run/standpipe/app', { flags: 'a' });
    for (let line = 0; line < lines; line++) {
        if (!log.write(`line ${line}\n`)) {
            await once(log, 'drain');
        }
    }
    log.end();
    await once(log, 'finish');
}

main(Number(process.argv[2] || 1000));
