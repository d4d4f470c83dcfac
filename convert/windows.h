/* Windows of attention: how many keys a query of each block sees. */
#ifndef NB_CONVERT_WINDOWS_H
#define NB_CONVERT_WINDOWS_H

#include "base/status.h"
#include "convert/arch.h"
#include "core/hparams.h"

/* windows [n_layer], key j being seen by the query at i when 0 <= i - j <= window, 0 for all, from the configuration;
 * h->windows says whether any block has one. Whole numbers below 2^24, which f32 holds exactly. */
nb_status nb_windows_make(float windows[NB_BLOCKS_MAX], const nb_arch *arch, const nb_arch_input *in, nb_hparams *h,
                          nb_error *err);

/* Whether block `layer` is of the kind that has a window, also where windows are left out. */
nb_status nb_windows_slides(const nb_arch *arch, const nb_arch_input *in, const nb_hparams *h, uint32_t layer,
                            bool *slides, nb_error *err);

#endif
