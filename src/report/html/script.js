// Opens files and stacks that lie packed in the page, and sorts and filters the table of nodes. Texts of nodes are put in as
// text (textContent), never as markup; nothing is asked from any network.
(function () {
  'use strict';

  var root = document.documentElement;
  root.classList.add('js');
  var overview = document.getElementById('overview');
  var viewer = document.getElementById('viewer');
  var title = document.getElementById('viewer-title');
  var note = document.getElementById('viewer-note');
  var tools = document.getElementById('viewer-tools');
  var body = document.getElementById('viewer-body');
  var single = document.querySelector('.node.alone') !== null;

  function make(name, className, text) {
    var element = document.createElement(name);
    if (className) { element.className = className; }
    if (text !== undefined) { element.textContent = text; }
    return element;
  }

  // What acts without being seen is made visible, as everywhere else in the report.
  var UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|\udb40[\udc00-\udc7f]/g;
  function visible(text) {
    return text.replace(UNSEEN, function (found) {
      var code = found.codePointAt(0);
      if (code < 0x20) { return String.fromCharCode(0x2400 + code); }
      if (code === 0x7f) { return '\u2421'; }
      return '[U+' + code.toString(16).toUpperCase().padStart(4, '0') + ']';
    });
  }

  // Light and dark.
  var theme = document.getElementById('theme');
  theme.hidden = false;
  function kept(value) {
    // A page from a file may be refused any storage.
    try {
      if (value === undefined) { return localStorage.getItem('plegcollect-theme'); }
      localStorage.setItem('plegcollect-theme', value);
    } catch (refused) { /* The choice lasts as long as the page. */ }
    return null;
  }
  var chosen = kept();
  if (chosen === 'light' || chosen === 'dark') { root.dataset.theme = chosen; }
  theme.addEventListener('click', function () {
    var dark = root.dataset.theme ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
    root.dataset.theme = dark ? 'light' : 'dark';
    kept(root.dataset.theme);
  });

  // Packed texts.
  var opened = new Map();
  async function unpacked(id) {
    if (opened.has(id)) { return opened.get(id); }
    var block = document.getElementById(id);
    if (!block) { throw new Error('It is not in this page.'); }
    if (typeof DecompressionStream !== 'function') {
      throw new Error('This browser cannot unpack what lies in the page: it takes Chrome 80, Firefox 113 or Safari 16.4, or later.');
    }
    var packed = Uint8Array.from(atob(block.textContent), function (c) { return c.charCodeAt(0); });
    var stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream('gzip'));
    var text = await new Response(stream).text();
    if (opened.size >= 4) { opened.delete(opened.keys().next().value); }
    opened.set(id, text);
    return text;
  }

  // The viewer. `turn` tells what it was opened for last: what is unpacked too late is not shown any more.
  var turn = 0;
  var base = '';
  function open(heading, remark) {
    turn += 1;
    title.textContent = visible(heading);
    note.textContent = visible(remark);
    tools.replaceChildren();
    body.replaceChildren();
    body.className = '';
    if (!viewer.open) { viewer.showModal(); }
    return turn;
  }
  function fail(error, item) {
    body.replaceChildren(make('p', 'line', error.message + (item ? ' ' + elsewhere(item) : '')));
  }
  document.getElementById('viewer-close').addEventListener('click', function () { viewer.close(); });
  viewer.addEventListener('close', function () {
    turn += 1;
    if (location.hash !== base) { history.replaceState(null, '', base || '#'); }
  });

  function elsewhere(item) {
    var files = item.closest('.files');
    var name = item.dataset.name;
    return files.dataset.show ? 'Whole: ' + files.dataset.show + ' ' + name : 'Whole: ' + name + ' in ' + files.dataset.source;
  }

  var PAGE = 400;
  var LONG = 4000;
  async function file(item, first, last) {
    var files = item.closest('.files');
    var mine = open(files.dataset.name + ': ' + item.dataset.name, 'Unpacking …');
    if (!item.dataset.block) {
      note.textContent = visible('Its text is not in this page. ' + elsewhere(item));
      return;
    }
    var text;
    try { text = await unpacked(item.dataset.block); } catch (error) {
      if (mine === turn) { note.textContent = ''; fail(error, item); }
      return;
    }
    if (mine !== turn) { return; }
    var lines = text.split('\n');
    lines.pop();
    // Rows: lines with their numbers, and gaps between them.
    var rows = [];
    var at = 0;
    var expected = 1;
    var left = 0;
    function gap(upto) {
      if (upto > expected) {
        rows.push({ gap: (upto - expected) + ' lines are not in this page: ' + expected + ' to ' + (upto - 1) });
        left += upto - expected;
      }
    }
    item.dataset.segments.split(' ').filter(Boolean).forEach(function (segment) {
      var parts = segment.split('+').map(Number);
      gap(parts[0]);
      for (var i = 0; i < parts[1] && at < lines.length; i += 1, at += 1) { rows.push({ no: parts[0] + i, text: lines[at] }); }
      expected = parts[0] + parts[1];
    });
    gap(Number(item.dataset.lines) + 1);
    note.textContent = visible(item.dataset.lines + ' lines, ' + item.dataset.size + ' bytes' +
      (left ? '; ' + left + ' lines are left out here. ' : '. ') + elsewhere(item));
    if (rows.length === 0) { rows.push({ gap: 'The file is empty.' }); }

    var start = 0;
    var found = -1;
    var earlier = button('Earlier', function () { show(start - PAGE); });
    var later = button('Later', function () { show(start + PAGE); });
    var where = make('span');
    var line = field('text', 'Line', function () { jump(Number(line.value), Number(line.value)); });
    line.inputMode = 'numeric';
    var words = field('search', 'Find', function () { find(); });
    var wrap = button('Wrap lines', function () {
      var on = body.classList.toggle('long');
      wrap.setAttribute('aria-pressed', String(!on));
    });
    wrap.setAttribute('aria-pressed', 'true');
    tools.replaceChildren(earlier, later, where, line.parentNode, words.parentNode, button('Find next', function () { find(); }), wrap);

    function show(from) {
      start = Math.max(0, Math.min(from, Math.max(0, rows.length - PAGE)));
      var part = rows.slice(start, start + PAGE);
      body.replaceChildren.apply(body, part.map(function (row) {
        if (row.gap) { return make('div', 'line gap', '        … ' + row.gap); }
        var element = make('div', 'line');
        element.dataset.line = String(row.no);
        element.append(make('span', 'no', String(row.no)), content(row.text));
        if ((row.no >= first && row.no <= last)) { element.classList.add('hit'); }
        return element;
      }));
      earlier.disabled = start === 0;
      later.disabled = start + PAGE >= rows.length;
      var numbers = part.filter(function (row) { return row.no; });
      var gaps = part.length > numbers.length ? ', with gaps' : '';
      where.textContent = numbers.length ? 'lines ' + numbers[0].no + ' to ' + numbers[numbers.length - 1].no + gaps : '';
      body.scrollTop = 0;
    }
    function jump(a, b) {
      first = a;
      last = b;
      var index = rows.findIndex(function (row) { return row.no >= a; });
      if (index < 0) { index = rows.length - 1; }
      show(index - Math.floor(PAGE / 2));
      if (!rows.some(function (row) { return row.no >= a && row.no <= b; })) { where.textContent = 'line ' + a + ' is not in this page'; }
      var hit = body.querySelector('.hit');
      if (hit) { hit.scrollIntoView({ block: 'center' }); }
    }
    function find() {
      var wanted = words.value.toLowerCase();
      if (!wanted) { return; }
      for (var i = 1; i <= rows.length; i += 1) {
        var index = (found + i) % rows.length;
        if (rows[index].no && rows[index].text.toLowerCase().includes(wanted)) {
          found = index;
          jump(rows[index].no, rows[index].no);
          return;
        }
      }
      where.textContent = 'not found in what is here';
    }
    if (first) { jump(first, last); } else { show(0); }
    body.focus({ preventScroll: true });
  }

  function content(text) {
    var shown = make('span', 'tx', visible(text.slice(0, LONG)));
    if (text.length > LONG) {
      var more = button('… ' + (text.length - LONG) + ' more characters', function () { shown.textContent = visible(text); });
      shown.append(' ', more);
    }
    return shown;
  }

  function button(text, act) {
    var element = make('button', '', text);
    element.type = 'button';
    element.addEventListener('click', act);
    return element;
  }
  function field(type, text, act) {
    var label = make('label', '', text + ' ');
    var input = make('input');
    input.type = type;
    input.addEventListener('keydown', function (event) {
      if (event.key === 'Enter') { event.preventDefault(); act(); }
    });
    label.append(input);
    return input;
  }

  // Stacks of one dump; `state` may pick some of them.
  async function stacks(node, index, state) {
    var name = document.getElementById('n' + node + '-name').textContent;
    var mine = open(name + ': goroutines', 'Unpacking …');
    var dump;
    try { dump = JSON.parse(await unpacked('g' + node))[index]; } catch (error) {
      if (mine === turn) { note.textContent = ''; fail(error); }
      return;
    }
    if (mine !== turn || !dump) { return; }
    title.textContent = visible(name + ': ' + dump.process + ', sample ' + dump.sample + ', ' + dump.total + ' goroutines');
    var states = Array.from(new Set(dump.groups.map(function (group) { return group.state; })));
    var pick = make('select');
    pick.append(new Option('every state', ''));
    states.forEach(function (one) { pick.append(new Option(visible(one), one)); });
    if (state && states.indexOf(state) < 0) { pick.append(new Option(visible(state), state)); }
    pick.value = state || '';
    var label = make('label', '', 'State ');
    label.append(pick);
    tools.replaceChildren(label);
    function show() {
      var groups = dump.groups.filter(function (group) { return !pick.value || group.state === pick.value; });
      var held = groups.reduce(function (sum, group) { return sum + group.count; }, 0);
      note.textContent = visible(held + (held === 1 ? ' goroutine in ' : ' goroutines in ') + groups.length + (groups.length === 1 ? ' place' : ' places') +
        (dump.more ? '; ' + dump.more + ' smaller groups of all states are left out here' : '') + '. All of them: ' + dump.file);
      body.replaceChildren.apply(body, groups.map(function (group) {
        var box = make('section', 'stack');
        var wait = group.minutes ? ', for up to ' + group.minutes + ' minutes' : '';
        box.append(make('h3', '', visible(group.count + ' × ' + group.state + wait + ' in ' + group.place)));
        var list = make('ol');
        group.frames.forEach(function (frame) { list.append(make('li', '', visible(frame))); });
        if (group.more) { list.append(make('li', '', '… ' + group.more + ' more frames')); }
        box.append(list);
        var item = itemOf(node, group.file);
        if (item && group.lines) {
          var link = make('a', 'cite', visible(group.file + ':' + group.lines[0] + '-' + group.lines[1]));
          link.href = '#' + item.id + ':' + group.lines[0] + '-' + group.lines[1];
          box.append(link);
        }
        return box;
      }));
      if (groups.length === 0) { body.append(make('p', 'line', 'No stack of this state is among the largest groups; see the file.')); }
      body.scrollTop = 0;
    }
    pick.addEventListener('change', show);
    show();
    body.focus({ preventScroll: true });
  }
  function itemOf(node, name) {
    var items = document.querySelectorAll('.files[data-node="' + Number(node) + '"] li');
    return Array.prototype.find.call(items, function (item) { return item.dataset.name === name; });
  }

  // Which page is shown hangs on the fragment of the address.
  var current = null;
  var scrolled = new Map();
  function page(element) {
    if (single || element === current) { return false; }
    if (current) { current.classList.remove('on'); }
    overview.classList.toggle('off', element !== overview);
    if (element !== overview) { element.classList.add('on'); }
    current = element;
    return true;
  }
  window.addEventListener('scroll', function () { if (current) { scrolled.set(current, window.scrollY); } }, { passive: true });

  function route() {
    var hash = location.hash;
    var parts = /^#n(\d+)-([fg])(\d+)(?::(.*))?$/.exec(hash);
    if (parts) {
      if (!current && !single) { page(document.getElementById('n' + parts[1]) || overview); base = '#n' + parts[1]; }
      var more = parts[4] === undefined ? '' : parts[4];
      if (parts[2] === 'g') {
        var state;
        try { state = decodeURIComponent(more); } catch (malformed) { state = ''; }
        stacks(parts[1], Number(parts[3]), state);
        return;
      }
      var item = document.getElementById('n' + parts[1] + '-f' + parts[3]);
      var lines = /^(\d+)-(\d+)$/.exec(more);
      if (item) { file(item, lines ? Number(lines[1]) : 0, lines ? Number(lines[2]) : 0); }
      return;
    }
    base = hash;
    if (viewer.open) { viewer.close(); }
    var target = hash.length > 1 ? document.getElementById(hash.slice(1)) : null;
    var node = target ? target.closest('.node') : null;
    var was = scrolled.get(node || overview) || 0;
    var turned = page(node || overview);
    if (target && target !== node && target !== overview) {
      target.scrollIntoView();
    } else if (turned) {
      window.scrollTo(0, node ? 0 : was);
      if (node) { node.querySelector('h2').tabIndex = -1; node.querySelector('h2').focus({ preventScroll: true }); }
    }
  }
  document.addEventListener('click', function (event) {
    if (event.defaultPrevented || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey) { return; }
    var link = event.target instanceof Element ? event.target.closest('a[href^="#"]') : null;
    if (!link) { return; }
    var more = link.dataset.more;
    var wanted = link.getAttribute('href') + (more ? ':' + encodeURIComponent(more) : '');
    event.preventDefault();
    if (location.hash === wanted) { route(); } else { location.hash = wanted; }
  });
  window.addEventListener('hashchange', route);
  route();

  // The table of nodes.
  var table = document.getElementById('table');
  if (table) {
    var rows = Array.from(table.tBodies[0].rows);
    var filter = document.getElementById('filter');
    var unwell = document.getElementById('unwell');
    document.querySelector('.tools').hidden = false;
    var narrow = function () {
      var words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
      var shown = 0;
      rows.forEach(function (row) {
        var text = row.textContent.toLowerCase();
        var fits = words.every(function (word) { return text.includes(word); }) && (!unwell.checked || !row.classList.contains('info'));
        row.hidden = !fits;
        shown += fits ? 1 : 0;
      });
      document.getElementById('matches').textContent = shown === rows.length ? '' : shown + ' of ' + rows.length + ' nodes';
    };
    filter.addEventListener('input', narrow);
    unwell.addEventListener('change', narrow);
    Array.from(table.tHead.rows[0].cells).forEach(function (cell, column) {
      var sorter = button(cell.textContent, function () {
        var down = cell.getAttribute('aria-sort') === 'ascending' || (cell.classList.contains('num') && !cell.hasAttribute('aria-sort'));
        Array.from(table.tHead.rows[0].cells).forEach(function (other) { other.removeAttribute('aria-sort'); });
        cell.setAttribute('aria-sort', down ? 'descending' : 'ascending');
        var key = function (row) { var at = row.cells[column]; return at.dataset.sort !== undefined ? at.dataset.sort : at.textContent; };
        rows.sort(function (a, b) {
          var order = key(a).localeCompare(key(b), 'en', { numeric: true });
          var x = Number(key(a));
          var y = Number(key(b));
          if (!Number.isNaN(x) && !Number.isNaN(y)) { order = x - y; }
          return down ? -order : order;
        });
        table.tBodies[0].append.apply(table.tBodies[0], rows);
      });
      cell.replaceChildren(sorter);
    });
  }

  // What is folded away is printed.
  var folded = [];
  window.addEventListener('beforeprint', function () {
    folded = Array.from(document.querySelectorAll('details:not([open])')).filter(function (one) { return one.offsetParent !== null; });
    folded.forEach(function (one) { one.open = true; });
  });
  window.addEventListener('afterprint', function () { folded.forEach(function (one) { one.open = false; }); });
})();
