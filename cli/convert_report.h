/* What a conversion did to the weights: a few lines for the terminal, and a page for a browser. */
#ifndef NB_CLI_CONVERT_REPORT_H
#define NB_CLI_CONVERT_REPORT_H

#include "base/buf.h"
#include "cli/options.h"
#include "convert/convert.h"

typedef struct conversion {
    const options *o;
    const char *source, *target; /* as they were given, or found */
    const nb_convert_report *report;
    const nb_convert_list *list;
} conversion;

/* A line for every class of tensors, appended to `out`. */
nb_status conversion_text(const conversion *c, nb_buf *out, nb_error *err);

/* The page: one self-contained HTML file, plots as SVG in it, no script, nothing from elsewhere. */
nb_status conversion_html(const conversion *c, nb_buf *out, nb_error *err);

#endif
