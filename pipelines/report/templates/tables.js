"use strict";
// Tables that sort and filter. All text goes in as text: names of clips come from outside.

const element = (name, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
};
const byId = (id) => document.getElementById(id);

/** Fill a select with an "all" choice and values, which are their own labels unless pairs are given. */
const fillSelect = (select, all, values) => {
  const pairs = values.map((value) => (Array.isArray(value) ? value : [value, value]));
  const choices = all === null ? pairs : [["", all], ...pairs];
  select.replaceChildren(...choices.map(([value, label]) => element("option", { value, textContent: label })));
};

/**
 * A sortable table. `columns` give: key, label, numeric, title, value(row) to sort by, cell(row) to
 * show, first ("ascending" or "descending": the order of the first click), kind (a class).
 */
class DataTable {
  constructor(name, columns, options = {}) {
    this.table = byId(`${name}-table`);
    this.more = byId(`${name}-more`);
    this.count = byId(`${name}-count`);
    this.page = 50;
    this.limit = this.page;
    this.options = options;
    this.rows = [];
    this.order = options.order || null;
    this.more.addEventListener("click", () => { this.limit = Infinity; this.draw(); });
    this.setColumns(columns);
  }

  setColumns(columns) {
    this.columns = columns;
    if (this.order && !columns.some((column) => column.key === this.order.key)) this.order = null;
  }

  show(rows, total) {
    this.rows = rows;
    this.total = total;
    this.limit = this.page;
    this.draw();
  }

  sorted() {
    const column = this.order && this.columns.find(({ key }) => key === this.order.key);
    if (!column) return this.rows;
    const sign = this.order.direction === "descending" ? -1 : 1;
    const missing = (value) => value === null || value === undefined || value === "";
    // Array.sort is stable; what has no value comes last in either order.
    return [...this.rows].sort((one, other) => {
      const [a, b] = [column.value(one), column.value(other)];
      if (missing(a) || missing(b)) return missing(a) - missing(b);
      return sign * (typeof a === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true }));
    });
  }

  head(column) {
    const sorts = this.order && this.order.key === column.key;
    const button = element("button", { type: "button", textContent: column.label, title: column.title || "" });
    button.addEventListener("click", () => {
      const other = { ascending: "descending", descending: "ascending" };
      const direction = this.order && this.order.key === column.key ? other[this.order.direction] : column.first || "ascending";
      this.order = { key: column.key, direction };
      this.draw();
      this.table.querySelector(`th[data-key="${CSS.escape(column.key)}"] button`).focus();
    });
    const cell = element("th", { scope: "col", className: column.numeric ? "number" : "" }, button);
    cell.dataset.key = column.key;
    if (sorts) cell.setAttribute("aria-sort", this.order.direction);
    return cell;
  }

  draw() {
    const rows = this.sorted();
    const shown = rows.slice(0, this.limit);
    const body = shown.map((row) => {
      const line = element("tr", {}, ...this.columns.map((column) =>
        element("td", { className: column.numeric ? "number" : column.kind || "" }, column.cell(row))));
      if (this.options.onRow) this.options.onRow(line, row);
      return line;
    });
    this.table.replaceChildren(
      element("thead", {}, element("tr", {}, ...this.columns.map((column) => this.head(column)))),
      element("tbody", {}, ...body));
    this.more.hidden = shown.length === rows.length;
    this.more.textContent = `Show all ${rows.length} rows`;
    this.count.textContent = `${rows.length} of ${this.total} rows` + (shown.length < rows.length ? `, ${shown.length} shown` : "");
  }
}
