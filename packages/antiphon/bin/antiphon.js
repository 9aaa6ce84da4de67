#!/usr/bin/env node
// npm links commands when it installs, before anything is built: this file is there then, dist is
// not.
import '../dist/bin.js';
