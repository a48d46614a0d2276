"""Changes of method and model that a test must notice; `make core-mutate` tries them.

A change whose text is no longer in the code is reported there: bring it up to date, or remove it with its rule.
"""

# For each module of fsaf_core, and for each rule, by the name of its test without `test_`: the text that is replaced (it is in the
# file once) and what replaces it. The test may be in any file of tests/method and tests/model; the module's own file goes first.
MUTATIONS: dict[str, dict[str, list[tuple[str, str]]]] = {
    "method/locations": {
        "a_cell_in_row_i_column_j_stands_at_j_plus_c_and_i_plus_c_strides": [
            ("torch.stack([x, y], 2)", "torch.stack([y, x], 2)"),
            (" + cell_center) * step", ") * step + cell_center"),
            ('indexing="ij"', 'indexing="xy"'),
            ("float(step)", "float(strides[0])"),
            ("columns,), index, device", "columns,), 0, device"),
        ],
        "sizes_and_starts_of_the_levels_add_up": [
            ("[rows * columns for", "[rows + columns for"),
            ("self.sizes[:index]", "self.sizes[: index + 1]"),
        ],
        "area_is_width_times_height": [
            ("(x2 - x1) * (y2 - y1)", "(x2 - x1) + (y2 - y1)"),
        ],
        "boxes_may_stand_in_any_number_of_axes": [
            ("boxes.unbind(-1)", "boxes.unbind(1)"),
            ("boxes.chunk(2, -1)", "boxes.chunk(2, 1)"),
            ("high - centers], -1)", "high - centers], 1)"),
            ("centers + distance[..., 2:]], -1)", "centers + distance[..., 2:]], 1)"),
            (".clamp(min=0).unbind(-1)", ".clamp(min=0).unbind(1)"),
        ],
        "decode_by_hand": [
            ("offsets * unit.unsqueeze(-1)", "offsets"),
            ("centers - distance[..., :2]", "centers + distance[..., :2]"),
            ("centers + distance[..., 2:]", "centers + distance[..., :2]"),
        ],
        "encode_is_the_inverse_of_decode_also_where_the_point_lies_outside": [
            ("[centers - low, high - centers]", "[low - centers, centers - high]"),
            ("/ unit.unsqueeze(-1)", "* unit.unsqueeze(-1)"),
        ],
        "iou_is_torchvisions": [
            ("torch.maximum(one", "torch.minimum(one"),
            ("torch.minimum(one", "torch.maximum(one"),
            ("width * height", "width + height"),
            ("+ box_area(other) - overlap)", "+ box_area(other))"),
        ],
        "iou_of_boxes_apart_along_both_axes_is_0": [
            ("(high - low).clamp(min=0)", "(high - low)"),
        ],
        "iou_of_boxes_without_area_is_0_and_not_nan": [
            (".clamp(min=eps)", ""),
        ],
        "the_union_counts_as_a_millionth_of_a_square_pixel_at_least": [
            ("eps: float = 1e-6", "eps: float = 1e-3"),
        ],
    },
    "method/losses": {
        "background_counts_three_times_as_much_as_an_object_of_equal_doubt": [
            ("alpha: float = 0.25", "alpha: float = 0.75"),
            ("return (1 - alpha) * ", "return alpha * "),
            (", gamma) * (label >= 0)", ", gamma)"),
            ("torch.where(label >= 0, value", "torch.where(label > 0, value"),
        ],
        "focal_loss_and_its_gradient_are_torchvisions": [
            ("logits.sigmoid().pow_(gamma)", "logits.sigmoid()"),
            ("mul_(F.softplus(logits))", "mul_(F.softplus(-logits))"),
            ("(1 - ctx.alpha) * grad", "ctx.alpha * grad"),
            ("-ctx.alpha * grad", "ctx.alpha * grad"),
            ("-ctx.alpha * grad *", "-ctx.alpha *"),
            ("_slope(-gather_class", "_slope(gather_class"),
        ],
        "gradcheck_of_the_focal_loss": [
            (".mul_(gamma).lerp_", ".mul_(2 * gamma).lerp_"),
            ("p.pow_(gamma)", "p.pow_(gamma + 1)"),
            ("F.softplus(x)", "F.softplus(-x)"),
        ],
        "focal_loss_of_one_positive_entry": [
            (" ** gamma * F.softplus", " * F.softplus"),
            ("alpha * torch.sigmoid(-logits)", "torch.sigmoid(-logits)"),
        ],
        "focal_loss_of_a_confident_object_is_small_and_of_a_missed_one_large": [
            ("** gamma * F.softplus(-logits)", "** gamma * F.softplus(logits)"),
        ],
        "a_larger_gamma_lowers_the_loss_of_what_is_nearly_right_most": [
            ("** gamma", "** 2"),
        ],
        "extreme_logits_have_the_exact_loss_and_a_finite_gradient": [
            ("mul_(F.softplus(logits))", "mul_(logits.exp().log1p())"),
            ("* F.softplus(-logits)", "* -torch.sigmoid(logits).log()"),
        ],
        "each_location_looks_at_the_entry_of_its_own_class": [
            (
                "label.clamp(min=0).unsqueeze(1)).squeeze(1)",
                "0 * label.clamp(min=0).unsqueeze(1)).squeeze(1)",
            ),
        ],
        "ignored_entries_have_no_loss_and_exactly_no_gradient": [
            ("negative.masked_fill_(ignore, 0)", "pass"),
            ("slope.masked_fill_(ignore, 0)", "pass"),
        ],
        "ignored_entries_change_nothing_elsewhere": [
            (
                "negative.masked_fill_(ignore, 0)",
                "negative.masked_fill_(ignore.any(0, keepdim=True), 0)",
            ),
        ],
        "a_positive_locations_own_class_counts_though_it_is_among_the_ignored": [
            (".sum(1) + own", ".sum(1) + own * (ignore is None)"),
        ],
        "iou_loss_is_minus_the_logarithm_of_torchvisions_iou": [
            (
                "-box_iou_aligned(predicted, target).clamp(min=IOU_EPS).log()",
                "1 - box_iou_aligned(predicted, target)",
            ),
        ],
        "iou_loss_is_0_for_equal_boxes_and_ends_at_13_8": [
            ("IOU_EPS = 1e-6", "IOU_EPS = 1e-4"),
            (".clamp(min=IOU_EPS)", ""),
        ],
        "gradcheck_of_the_iou_loss": [
            (".clamp(min=IOU_EPS).log()", ".detach().clamp(min=IOU_EPS).log()"),
        ],
    },
    "method/regions": {
        "paper_a_region_is_floor_to_ceil_of_the_scaled_box": [
            ("low.floor()", "low.round()"),
            ("high.ceil()", "high.floor()"),
            ("scaled[:, axis] / stride", "boxes[:, axis] / stride"),
            ("(high - low) * 0.5 * scale", "(high - low) * scale"),
            ("reversed(shape)", "shape"),
            ("columns, rows = shares", "rows, columns = shares"),
        ],
        "paper_an_effective_region_has_a_cell_at_every_level": [
            (".maximum(first + 1)", ".maximum(first)"),
            ("low.floor().clamp(min=0)", "low.floor()"),
            (".minimum(limit - 1)", ""),
        ],
        "paper_a_region_ends_at_the_border_of_its_own_image": [
            ("if extent is None else extent", "if True else extent"),
            ("extent[:, level, axis]", "extent[:, level, 1 - axis]"),
            (".minimum(limit[:, None])", ""),
        ],
        "reference_a_region_ends_at_the_border_of_its_own_image": [
            ("return share * (index < limit[:, None])", "return share"),
        ],
        "reference_a_cell_needs_its_point_strictly_inside_the_full_box": [
            ("if inside:", "if False:"),
            ("(center > low)", "(center >= low)"),
            ("(center < high)", "(center <= high)"),
        ],
        "reference_the_ignored_region_needs_no_point_inside_the_box": [
            ("if inside:", "if True:"),
            (
                "torch.maximum(low[:, None], start)).clamp(min=0)",
                "torch.maximum(low[:, None], start))",
            ),
        ],
        "reference_a_cells_square_is_centred_at_its_point": [
            (
                "index + cell_center - 0.5, index + cell_center + 0.5",
                "index + cell_center, index + cell_center + 1",
            ),
        ],
        "with_overlap_squares_and_points_stand_where_cell_center_says": [
            ("device=boxes.device) + rules.cell_center", "device=boxes.device)"),
            ("limit, rules.cell_center)", "limit, 0.0)"),
        ],
        "reference_a_cell_needs_more_than_a_hundredth_of_its_square_covered": [
            ("MIN_COVERAGE = 0.01", "MIN_COVERAGE = 0.0"),
            ("MIN_COVERAGE = 0.01", "MIN_COVERAGE = 0.0105"),
            (
                "(rows[:, :, None] * columns[:, None, :] > MIN_COVERAGE)",
                "((rows[:, :, None] > MIN_COVERAGE) & (columns[:, None, :] > MIN_COVERAGE))",
            ),
        ],
        "reference_a_row_that_is_barely_covered_is_left_out": [
            ("rows[:, :, None] * columns", "rows[:, :, None].ceil() * columns"),
        ],
        "reference_a_column_that_is_barely_covered_is_left_out_at_its_side": [
            ("columns[:, None, :] >", "columns[:, None, :].ceil() >"),
            ("index + cell_center - 0.5", "index + cell_center - 1.0"),
        ],
        "reference_a_tiny_box_may_have_no_cell_at_any_level": [
            ("[:, None, :] > MIN_COVERAGE", "[:, None, :] >= 0"),
        ],
        "the_scale_grows_the_region": [
            ("* 0.5 * scale", "* 0.5 * 0.2"),
        ],
        "crowd_locations_stand_strictly_inside_the_inner_half_of_a_crowd_box_of_their_image": [
            ("CROWD_SCALE = 0.5", "CROWD_SCALE = 1.0"),
            ("centers > low", "centers >= low"),
            ("centers < high", "centers <= high"),
            (".all(2)", ".any(2)"),
            ("index_add_(0, image,", "index_add_(0, image * 0,"),
        ],
    },
    "method/selection": {
        "an_instances_loss_at_a_level_is_the_mean_over_the_cells_it_owns_there": [
            ('"mean", include_self=False', '"sum", include_self=False'),
            ('"mean", include_self=False', '"mean", include_self=True'),
            ("instance * levels + locations.level", "instance + locations.level"),
            ("torch.where(assigned < 0, num_instances, assigned)", "assigned.clamp(min=0)"),
            ("view(-1, levels)[:-1]", "view(-1, levels)[1:]"),
        ],
        "without_instances_there_are_no_losses_and_no_levels": [
            ("((num_instances + 1) * levels,)", "(num_instances * levels,)"),
        ],
        "online_selection_takes_the_least_loss_the_first_on_ties_and_none_without_cells": [
            ("level_losses.argmin(1)", "level_losses.argmax(1)"),
            (
                "level_losses.argmin(1)",
                "(level_losses.shape[1] - 1 - level_losses.flip(1).argmin(1))",
            ),
            ("argmin(1).masked_fill(level_losses.isinf().all(1), -1)", "argmin(1)"),
        ],
        "the_heuristic_puts_224_px_on_p5_and_a_level_for_each_doubling": [
            ("exact.floor()", "exact.round()"),
            (".sqrt() / size", " / size"),
            ("exact = level + ", "exact = "),
        ],
        "the_heuristic_goes_by_the_area_not_by_the_longer_side": [
            ("box_area(boxes).clamp(min=1e-6).sqrt()", "(boxes[:, 2:] - boxes[:, :2]).amax(1)"),
        ],
        "the_heuristic_counts_levels_from_the_first_there_is": [
            (".long() - first_level", ".long() - 3"),
        ],
        "the_heuristic_stays_within_the_levels_there_are": [
            (".clamp(0, level_losses.shape[1] - 1)", ".clamp(min=0)"),
            (".clamp(0, level_losses", ".clamp(None, level_losses"),
        ],
        "the_heuristic_takes_no_level_where_an_instance_owns_no_cell": [
            ("index.masked_fill(level_losses.isinf().all(1), -1)", "index"),
            (
                "index.masked_fill(level_losses.isinf().all(1), -1)",
                "index.masked_fill(level_losses.isinf().any(1), -1)",
            ),
        ],
        "the_heuristic_takes_a_box_without_area_as_one_of_a_thousandth_of_a_pixel": [
            ("box_area(boxes).clamp(min=1e-6)", "box_area(boxes)"),
        ],
    },
    "method/assignment": {
        "the_smaller_of_two_instances_is_assigned_wherever_it_stands_in_the_list": [
            ("areas.flip(0).argsort(", "(-areas).flip(0).argsort("),
            ("mask[order], background", "mask, background"),
        ],
        "of_two_instances_of_equal_area_the_later_is_assigned": [
            ("len(areas) - 1 - areas.flip(0).argsort(stable=True)", "areas.argsort(stable=True)"),
        ],
        "an_instance_is_assigned_to_locations_of_its_own_image_only": [
            ("start += len(areas)", "start = 0"),
        ],
        "a_region_may_end_with_the_last_location_of_the_last_image": [
            ("order.new_full((1,), -1)", "order.new_full((1,), 0)"),
        ],
        "regions_are_counted_by_image_and_class": [
            ("ground_truth.image * classes + ground_truth.labels", "ground_truth.labels"),
            ("ground_truth.image * classes + ground_truth.labels", "ground_truth.image * classes"),
        ],
        "a_thousand_regions_over_one_location_are_counted": [
            ("regions.to(torch.int16))", "regions.to(torch.int16)).to(torch.int8)"),
        ],
        "equal_classes_of_different_images_do_not_meet": [
            ("ground_truth.image * classes + ground_truth.labels", "ground_truth.labels"),
        ],
        "the_reference_erases_cells_where_regions_of_one_class_overlap": [
            (".squeeze(1) >= 2, -1)", ".squeeze(1) >= 1, -1)"),
            (".squeeze(1) >= 2, -1)", ".squeeze(1) > 2, -1)"),
            ("count.gather(1, own_class)", "count.gather(1, 0 * own_class)"),
        ],
        "an_image_means_the_same_alone_and_in_a_batch_with_a_larger_one": [
            ("extent[ground_truth.image]", "extent[ground_truth.image * 0]"),
        ],
        "each_switch_changes_a_number": [
            ('config.selection_focal == "all"', "True"),
            ('config.selection == "online"', "True"),
            ("config.effective_scale, locations", "0.2, locations"),
            ("rules.ignoring_scale, locations", "0.5, locations"),
        ],
        "reference_a_cell_needs_its_point_strictly_inside_the_full_box": [
            ("inside=True", "inside=False"),
        ],
        "paper_a_region_ends_at_the_border_of_its_own_image": [
            ("rules, extent, inside=True", "rules, None, inside=True"),
        ],
        "alpha_and_gamma_count_in_the_selection_and_in_the_losses": [
            ("alpha, gamma = config.focal_alpha, config.focal_gamma", "alpha, gamma = 0.25, 2.0"),
            ("alpha_gamma = config.focal_alpha", "alpha_gamma = 0.25"),
        ],
        "a_crowds_inner_half_is_neither_positive_nor_negative": [
            ("assigned = assigned.masked_fill(crowd, -1)", "pass"),
            ("valid = ~crowd", "pass"),
        ],
        "the_reference_ignores_entries_in_the_selection_and_the_paper_does_not": [
            ("label, ignore, alpha, gamma", "label, None, alpha, gamma"),
        ],
        "both_losses_have_a_say_in_the_selection": [
            ("location_loss = focal + box_loss(", "location_loss = box_loss("),
            ("location_loss = focal + box_loss(", "location_loss = focal + 0 * box_loss("),
        ],
        "a_level_that_was_not_selected_gets_exactly_no_box_gradient": [
            ("look_up(selected, assigned, -1) == locations.level", "assigned >= 0"),
            ("assigned.masked_fill(~positive, -1)", "assigned"),
        ],
        "the_paper_ignores_nothing_for_an_instance_that_owns_no_cell": [
            (" & (selected >= 0)[:, None]", ""),
        ],
        "the_paper_ignores_an_instance_at_its_selected_level_and_those_beside_it": [
            (".abs() <= 1", ".abs() <= 0"),
            (".abs() <= 1", ".abs() <= 2"),
            ("ignoring & near[:, locations.level]", "ignoring"),
        ],
        "the_reference_ignores_an_instance_at_every_level": [
            ('rules.ignore_levels == "adjacent"', "True"),
        ],
        "the_ignored_entries_of_a_level_are_the_ignoring_region": [
            ("ignoring & near", "effective & near"),
        ],
        "the_losses_are_sums_over_valid_cells_and_over_positive_cells_divided_by_the_positives": [
            ("focal = focal * assignment.valid", "pass"),
            ("look_up(ground_truth.boxes, assignment.assigned, 0)", "predictions.boxes.detach()"),
        ],
        "a_box_loss_may_be_undefined_where_a_location_is_background": [
            ("predictions.boxes.where(positive, unit)", "predictions.boxes"),
            ("assigned, 0).where(positive, unit)", "assigned, 0)"),
            ("target) * assignment.positive", "target)"),
        ],
        "ignored_entries_get_exactly_no_gradient_and_all_others_some": [
            ("assignment.ignore, *alpha_gamma", "None, *alpha_gamma"),
        ],
        "the_positive_entries_alone_pull_logits_up": [
            (
                "look_up(ground_truth.labels, assignment.assigned, -1)",
                "look_up(ground_truth.labels, assignment.assigned, 0)",
            ),
        ],
        "lambda_scales_the_anchor_free_losses": [
            ("config.af_weight / normalizer", "1 / normalizer"),
        ],
        "nothing_becomes_nan": [
            ("torch.cat([values, background])[assigned]", "values[assigned]"),
        ],
    },
    "model/structures": {
        "boxes_and_labels_of_different_number_are_a_users_fault": [
            ("labels.shape == (len(boxes),)", "labels.ndim == 1"),
        ],
        "instances_and_crowds_are_packed_image_by_image": [
            ("torch.full((len(part),), i, ", "torch.full((len(part),), 0, "),
            ('target.get("ignored", boxes[:0])', "boxes[:0]"),
        ],
        "labels_may_be_of_any_whole_type_and_of_none_of_any": [
            (".long()\n", "\n"),
        ],
        "targets_of_another_kind_or_scale_are_named": [
            ("boxes.detach().numpy().max() <= 1", "boxes.detach().numpy().max() < 0"),
            ("(boxes[:, 0] >= width)", "(boxes[:, 0] < 0)"),
        ],
    },
    "data/sources": {
        "what_is_no_picture_is_named_and_never_taken_for_one": [
            ("-0.5 <= low <= high <= 1.5", "-0.5 <= low"),
            ("-0.5 <= low <= high <= 1.5", "high <= 1.5"),
            ("image.shape[:-2] != (3,)", "image.ndim != 3"),
        ],
        "images_of_equal_padded_size_share_a_call_and_the_order_stays": [
            ("for place in range(len(images)):", "for place in found:"),
            ("groups.setdefault(size, [])", "groups.setdefault((0, 0), [])"),
        ],
        "frames_without_an_end_are_taken_a_batch_at_a_time": [
            ("islice(sources, batch_size)", "islice(sources, batch_size + 1)"),
        ],
    },
    "model/head": {
        "outputs_start_as_the_paper_says": [
            ("PRIOR = 0.01", "PRIOR = 0.1"),
            ("std=0.01", "std=0.02"),
            ("4, config.rules.box_bias", "4, 0.0"),
        ],
        "box_outputs_are_never_negative": [
            ("self.af_box(b).relu()", "self.af_box(b)"),
        ],
    },
    "model/fpn": {
        "the_pyramid_makes_p6_from_c5_and_p7_from_p6_without_a_relu": [
            ("coarser = output(coarser)", "coarser = output(coarser.relu())"),
            ("merged[index] + F.interpolate", "merged[index] - F.interpolate"),
        ],
    },
    "model/detector": {
        "predictions_are_the_logits_and_the_decoded_boxes_of_all_locations": [
            (
                "scale = self.config.offset_normalizer * locations.stride\n",
                "scale = locations.stride\n",
            ),
        ],
        "the_reference_takes_box_outputs_as_at_least_a_ten_thousandth": [
            ("self.config.rules.min_offset if training", "0 if training"),
        ],
        "an_image_means_the_same_alone_and_in_a_batch_with_a_larger_one": [
            ("(xy < locations.extent", "(xy <= locations.extent"),
        ],
        "a_crowd_in_one_image_leaves_the_padding_of_another_invalid": [
            ("assignment.valid & inside", "assignment.valid"),
        ],
        "the_selection_carries_no_gradient": [
            ("@torch.no_grad()\n    def assign", "def assign"),
        ],
        "the_losses_are_sums_over_valid_cells_and_over_positive_cells_divided_by_the_positives": [
            (
                "assignment.positive.sum(dtype=torch.float32)",
                "(assignment.before_selection >= 0).sum(dtype=torch.float32)",
            ),
        ],
        "positives_divide_both_losses_and_without_any_each_convention_has_its_own_divisor": [
            ('rules.no_positive_normalizer == "locations"', 'rules.no_positive_normalizer == ""'),
        ],
        "the_reference_divides_by_the_valid_cells_and_at_least_one_an_image_where_nothing_is_positive": [
            ("valid.sum(1).clamp(min=1)", "valid.sum(1)"),
        ],
        "preprocessing_normalises_then_pads_with_zeros_to_a_multiple_of_32": [
            ("(image - self.mean) / self.std", "image / self.std"),
            ("(0, width - w, 0, height - h)", "(width - w, 0, 0, height - h)"),
        ],
    },
    "model/postprocess": {
        "the_candidates_of_a_level_are_those_of_a_loop": [
            ("scores.amax(1)", "scores.sum(1)"),
            ("sort(descending=True)", "sort()"),
            ('rules.topk == "locations"', 'rules.topk != "locations"'),
        ],
        "a_level_without_a_score_above_the_threshold_has_no_candidate": [
            ("scores[best] > config.score_thresh", "scores[best] > 0"),
        ],
        "merging_keeps_the_better_of_two_of_a_class_and_both_of_two_classes": [
            ("batched_nms(boxes, scores, labels,", "batched_nms(boxes, scores, labels * 0,"),
            ("boxes[:, 2:] > boxes[:, :2]", "boxes[:, 2:] >= boxes[:, :2]"),
        ],
        "merging_drops_scores_up_to_the_threshold_and_all_beyond_the_limit": [
            ("has_area & (scores > config", "has_area & (scores >= config"),
            ("[: config.detections_per_img]", ""),
        ],
        "boxes_are_clipped_and_brought_to_the_pixels_before_the_resize": [
            ("clip_boxes_to_image(boxes, size)", "boxes"),
            ("[1 / factor for factor", "[factor for factor"),
        ],
    },
    "model/anchor_branch": {
        "nine_anchors_a_cell_of_three_sizes_and_ratios_centred_on_the_cells_corner": [
            ("2 ** (octave / 3)", "2**octave"),
            ("((0.5, 1.0, 2.0),)", "((0.5, 1.0, 1.5),)"),
        ],
        "the_focal_loss_over_anchors_is_torchvisions": [
            ("Matcher(0.5,", "Matcher(0.6,"),
            ("(focal * ~left_out)", "focal"),
            ("permute(0, 3, 4, 1, 2)", "permute(0, 4, 3, 1, 2)"),
        ],
        "the_box_loss_is_smooth_l1_of_the_positive_anchors_deltas": [
            ("BETA = 1 / 9", "BETA = 1.0"),
            ('reduction="sum", beta', 'reduction="mean", beta'),
        ],
        "the_best_anchor_of_a_box_is_positive_however_little_they_overlap": [
            ("allow_low_quality_matches=True", "allow_low_quality_matches=False"),
        ],
        "an_anchor_mostly_inside_a_crowd_is_no_background": [
            ("(match == -1) & crowded", "(match == -2) & crowded"),
        ],
        "a_crowd_counts_in_its_own_image_alone": [
            ("ground_truth.crowd_image, inside", "0 * ground_truth.crowd_image, inside"),
        ],
        "nothing_becomes_nan": [
            (".clamp(min=one)", ""),
        ],
    },
}
