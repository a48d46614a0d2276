"""Changes of the method that a test must notice; `make core-mutate` tries them.

A line that no longer fits the code says so there: bring it up to date with the code, or take it out with its rule.
"""

# For each module of the core, and for each rule of it, by the name of its test in tests/test_MODULE.py: what to write (second) in
# the place of which text (first; it stands in the file once).
MUTATIONS: dict[str, dict[str, list[tuple[str, str]]]] = {
    "boxes": {
        "a_cell_in_row_i_column_j_stands_at_j_plus_c_and_i_plus_c_strides": [
            ("both.flip(1) + cell_center", "both + cell_center"),
            (
                "(both.flip(1) + cell_center) * stride[:, None]",
                "both.flip(1) * stride[:, None] + cell_center",
            ),
            ("device=device)[level]", "device=device)[level].flip(0)"),
        ],
        "a_grids_edges_are_those_of_boxes_that_are_points": [
            ("torch.cat([-centers, centers], 1)", "torch.cat([centers, centers], 1)"),
        ],
        "starts_and_blocks_of_a_grid_add_up": [
            ("self.sizes[:index]", "self.sizes[: index + 1]"),
            ("sum(self.sizes[1:])", "sum(self.sizes)"),
        ],
        "a_pyramid_of_one_level_is_one_block": [
            ("if size]", "]"),
        ],
        "the_cells_made_on_a_fake_tensor_are_not_kept_for_real_ones": [
            (" or type(like) is not Tensor", ""),
        ],
        "the_cells_of_an_input_size_are_made_once": [
            ("fresh(like) else _grid", "True else _grid"),
        ],
        "area_is_width_times_height": [
            ("(high - low).prod(-1)", "(high - low).sum(-1)"),
        ],
        "boxes_may_stand_in_any_number_of_axes": [
            ("(high - low).prod(-1)", "(high - low).prod(1)"),
            ("high - centers], -1) / scale", "high - centers], 1) / scale"),
        ],
        "decode_by_hand": [
            ("offsets * scale.unsqueeze(-1)", "offsets"),
            ("centers - distance[..., :2]", "centers + distance[..., :2]"),
            ("centers + distance[..., 2:]", "centers + distance[..., :2]"),
        ],
        "encode_is_the_inverse_of_decode_also_where_the_point_lies_outside": [
            ("[centers - low, high - centers]", "[low - centers, centers - high]"),
            ("high - centers], -1) / scale", "high - centers], -1) * scale"),
        ],
        "edges_are_measured_outwards_so_that_growing_a_box_grows_all_four": [
            ("torch.cat([-low, high], -1)", "torch.cat([low, high], -1)"),
        ],
        "iou_is_torchvisions": [
            ("torch.minimum(one, other)", "torch.maximum(one, other)"),
            ("(area_one + area_other - overlap)", "(area_one + area_other)"),
        ],
        "iou_of_boxes_apart_along_both_axes_is_0": [
            ("(low + high).relu()", "(low + high)"),
        ],
        "iou_of_boxes_without_area_is_0_and_not_nan": [
            (".clamp(min=eps)", ""),
        ],
        "the_union_counts_as_a_millionth_of_a_square_pixel_at_least": [
            ("eps: float = 1e-6", "eps: float = 1e-3"),
        ],
    },
    "losses": {
        "background_counts_three_times_as_much_as_an_object_of_equal_doubt": [
            ("ALPHA = 0.25", "ALPHA = 0.75"),
            ("focal_term(-own) * positive, ALPHA", "focal_term(-own) * positive, 1 - ALPHA"),
        ],
        "softplus_is_exact_far_out": [
            ("LINEAR = 60.0", "LINEAR = 20.0"),
        ],
        "iou_loss_is_0_for_equal_boxes_and_ends_at_13_8": [
            ("IOU_EPS = 1e-6", "IOU_EPS = 1e-4"),
            (".clamp(min=IOU_EPS)", ""),
        ],
        "focal_loss_and_its_gradient_are_torchvisions": [
            ("times_sigmoid_(times_sigmoid_(softplus(x), x), x)", "times_sigmoid_(softplus(x), x)"),
            (".mul_((1 - ALPHA) * out)", ".mul_(1 - ALPHA)"),
        ],
        "focal_loss_of_one_positive_entry": [
            ("torch.sigmoid(-logits).square()", "torch.sigmoid(-logits)"),
        ],
        "focal_loss_of_a_sure_object_is_small_and_of_a_missed_one_large": [
            ("* softplus(-logits)", "* softplus(logits)"),
        ],
        "each_cell_looks_at_the_entry_of_its_own_class": [
            ("block.gather(1, index) for", "block.gather(1, index * 0) for"),
        ],
        "ignored_entries_have_no_loss_and_exactly_no_gradient": [
            ("loss.masked_fill_(mask, 0)", "loss"),
            ("dense.masked_fill_(mask, 0)", "pass"),
        ],
        "a_positive_cells_own_class_counts_though_it_is_among_the_ignored": [
            ("if not ignored:  # else", "if True:  # else"),
        ],
        "a_cell_that_is_not_positive_may_name_any_class": [
            ("background - focal_term(own) * positive", "background - focal_term(own)"),
            ("focal_term(-own) * positive, ALPHA", "focal_term(-own), ALPHA"),
            ("torch.where(where.unsqueeze(1), at_own, dense.gather(1, own))", "at_own"),
        ],
        "gradcheck_of_the_focal_loss": [
            ("focal_term(block).mul_(2)", "focal_term(block).mul_(3)"),
            ("piece.lerp_(p.square(), p)", "piece.lerp_(p, p)"),
        ],
        "extreme_logits_have_the_exact_loss_and_a_finite_gradient": [
            ("at_own = -ALPHA", "at_own = ALPHA"),
        ],
        "iou_loss_is_minus_the_logarithm_of_torchvisions_iou": [
            (
                "-edge_iou(predicted, target).clamp(min=IOU_EPS).log()",
                "1 - edge_iou(predicted, target)",
            ),
        ],
    },
    "regions": {
        "reference_a_cell_needs_more_than_a_hundredth_of_its_square_covered": [
            ("OVERLAP = 0.01", "OVERLAP = 0.0"),
            (
                "torch.stack([first, last]) * row <= OVERLAP",
                "torch.stack([first, last]) <= OVERLAP",
            ),
        ],
        "crowd_cells_stand_strictly_inside_the_inner_half_of_a_crowd_box_of_their_image": [
            ("CROWD_SCALE = 0.5", "CROWD_SCALE = 1.0"),
            ("x_y > (center", "x_y >= (center"),
            (".all(2)", ".any(2)"),
            ("index_add_(0, image,", "index_add_(0, image * 0,"),
        ],
        "paper_a_region_is_floor_to_ceil_of_the_scaled_box": [
            ("(effective_scale, rules.ignoring_scale)", "(effective_scale, effective_scale)"),
            ("(half + opposite) * slots.scale", "(half + opposite)"),
            ("(edges + slots.shift).ceil()", "(edges + slots.shift).floor()"),
        ],
        "paper_an_effective_region_has_a_cell_at_every_level": [
            ("least = 1 if", "least = 0 if"),
            ("length.clamp(min=1)", "length"),
            ("rows.clamp(min=1)", "rows"),
        ],
        "paper_a_region_ends_at_the_border_of_its_own_image": [
            ("slots.bounds if extent is None else", "slots.bounds if True else"),
            ("cells.clamp(lower, upper)", "cells.maximum(lower)"),
        ],
        "reference_a_cell_needs_its_point_strictly_inside_the_full_box": [
            ("(inwards + 1) * -0.5", "(inwards + 1) * 0.0"),
            ("cells = cells.minimum(", "cells = cells.maximum("),
        ],
        "reference_the_ignored_region_needs_no_point_inside_the_box": [
            ("num_effective, 0.0, torch.inf", "num_effective, 0.0, 0.0"),
        ],
        "reference_a_cells_square_is_centred_at_its_point": [
            ("cell_center - 0.5 if", "cell_center if"),
        ],
        "reference_a_row_that_is_barely_covered_is_left_out": [
            ("& (row > OVERLAP)", ""),
        ],
        "reference_a_column_that_is_barely_covered_is_left_out_at_its_side": [
            ("start + thin[0]", "start"),
            ("length - thin.sum(0, dtype=torch.int32)", "length - thin[0]"),
        ],
        "a_cell_of_two_regions_goes_to_the_smaller_instance_wherever_it_stands_in_the_list": [
            ("argsort(descending=True", "argsort(descending=False"),
            ('"amax")', '"sum")'),
        ],
        "a_cell_of_two_regions_of_equal_area_goes_to_the_later_instance": [
            (
                "with_none(box_area(boxes), torch.inf).argsort(descending=True, stable=True)",
                "with_none(box_area(boxes), torch.inf).argsort(stable=True).flip(0)",
            ),
        ],
        "an_instance_owns_cells_of_its_own_image_only": [
            ("slots.entry_column).add(image, alpha=num_cells)", "slots.entry_column)"),
            ("slots.entry_column >= runs.length", "slots.entry_column > runs.length"),
        ],
        "a_region_may_end_with_the_last_cell_of_the_last_image": [
            ("(batch + 1) * num_cells", "batch * num_cells"),
        ],
        "runs_that_are_not_active_are_not_counted": [
            ("runs.length * active", "runs.length"),
        ],
        "regions_are_counted_in_the_map_of_their_plane": [
            ("add(plane.unsqueeze(1), alpha=num_cells)", "add(plane.unsqueeze(1), alpha=0)"),
            ("end = start + length[:, part]", "end = start + length[:, part] + 1"),
        ],
        "an_empty_run_behind_the_last_cell_counts_nothing": [
            ("planes * num_cells + 2", "planes * num_cells + 1"),
        ],
        "a_thousand_regions_over_one_cell_are_counted": [
            ("dtype=torch.int16", "dtype=torch.int8"),
        ],
    },
    "selection": {
        "an_instances_loss_at_a_level_is_the_mean_over_the_cells_it_owns_there": [
            ('"mean", include_self=False', '"sum", include_self=False'),
            ("include_self=False", "include_self=True"),
            ("grid.level.add(owner, alpha=levels)", "grid.level.add(owner, alpha=1)"),
            ("view(-1, levels)[1:]", "view(-1, levels)[:-1]"),
        ],
        "online_selection_takes_the_least_loss_the_first_on_ties_and_none_without_cells": [
            ("level_losses.min(1)", "level_losses.max(1)"),
            (
                "level_losses.min(1)",
                "((value := level_losses.flip(1).min(1))[0], level_losses.shape[1] - 1 - value[1])",
            ),
            ("level.masked_fill(best == torch.inf, -1)", "level"),
        ],
        "the_heuristic_puts_224_px_on_p5_and_a_level_for_each_doubling": [
            ("torch.floor(", "torch.round("),
            (".sqrt() / size", " / size"),
            ("torch.floor(level + ", "torch.floor("),
        ],
        "the_heuristic_goes_by_the_area_not_by_the_longer_side": [
            ("box_area(boxes).clamp(min=1e-6).sqrt()", "(boxes[:, 2:] - boxes[:, :2]).amax(1)"),
        ],
        "the_heuristic_counts_levels_from_the_first_there_is": [
            (".long() - first_level", ".long() - 3"),
        ],
        "the_heuristic_stays_within_the_levels_there_are": [
            ("by_size.clamp(0, level_losses.shape[1] - 1)", "by_size.clamp(min=0)"),
            ("by_size.clamp(0, ", "by_size.clamp(None, "),
        ],
        "the_heuristic_takes_no_level_where_an_instance_owns_no_cell": [
            (".isinf().all(1)", ".isinf().any(1)"),
        ],
        "the_heuristic_takes_a_box_without_area_as_one_of_a_thousandth_of_a_pixel": [
            ("box_area(boxes).clamp(min=1e-6)", "box_area(boxes)"),
        ],
    },
    "inputs": {
        "boxes_and_labels_of_different_number_are_a_users_fault": [
            ("!= (len(labels), 4)", "[1] != 4"),
        ],
        "instances_and_crowds_are_packed_image_by_image": [
            ("[*range(len(targets)), *crowded]", "[*range(len(targets)), *range(len(crowded))]"),
        ],
    },
    "outputs": {
        "the_reference_takes_box_outputs_as_at_least_a_ten_thousandth": [
            ("offsets = offsets.clamp(min=config.rules.min_offset)", "pass"),
        ],
        "the_box_loss_is_that_of_the_decoded_box_in_pixels": [
            ("config.offset_normalizer * grid.stride", "grid.stride"),
        ],
    },
    "targets": {
        "equal_classes_of_different_images_do_not_meet": [
            ("labels.add(image, alpha=classes)", "labels.add(image, alpha=0)"),
        ],
        "the_reference_erases_cells_where_regions_of_one_class_overlap": [
            ("squeeze(1) >= 2, 0)", "squeeze(1) >= 1, 0)"),
            ("squeeze(1) >= 2, 0)", "squeeze(1) > 2, 0)"),
        ],
        "each_switch_changes_a_number": [
            ('if rules.same_class_overlap == "erase":', "if True:"),
            ('config.selection_focal == "all"', "True"),
            ('if config.selection == "online"', "if True"),
        ],
        "a_crowds_inner_half_is_neither_positive_nor_negative": [
            ("owner = owner.masked_fill(crowd, 0)", "pass"),
            ("valid = ~crowd if valid is None else valid & ~crowd", "pass"),
        ],
        "a_crowd_in_one_image_leaves_the_padding_of_another_invalid": [
            ("valid & ~crowd", "~crowd"),
        ],
        "the_reference_ignores_entries_in_the_selection_and_the_paper_does_not": [
            (
                "label, ignored, outputs.background(ignored))",
                "label, None, outputs.background(None))",
            ),
        ],
        "both_losses_have_a_say_in_the_selection": [
            ("instance_level_losses(focal + outputs", "instance_level_losses(outputs"),
            ("focal + outputs.box_loss(target_edges, grid, config), owner", "focal, owner"),
        ],
        "a_level_that_was_not_selected_gets_exactly_no_box_gradient": [
            ("with_none(selected, -1)[owner] == grid.level", "owner > 0"),
            ("grid, config) * assignment.positive", "grid, config)"),
        ],
        "the_paper_ignores_nothing_for_an_instance_that_owns_no_cell": [
            ("<= (chosen >= 0)", "<= 1"),
        ],
        "the_paper_ignores_an_instance_at_its_selected_level_and_those_beside_it": [
            ("<= (chosen >= 0)", "< (chosen >= 0)"),
            ("runs, slots.ignoring, near, plane", "runs, slots.ignoring, None, plane"),
        ],
        "the_ignored_entries_of_a_level_are_the_ignoring_region": [
            (
                "runs, slots.ignoring, near, plane",
                "runs, slots.effective, near[:, slots.effective], plane",
            ),
        ],
        "the_selection_carries_no_gradient": [
            ("@torch.no_grad()\n", ""),
        ],
        "the_losses_are_sums_over_valid_cells_and_over_positive_cells_divided_by_the_positives": [
            ("focal = focal * assignment.valid", "pass"),
            (
                "assignment.positive.sum(dtype=torch.float32), ",
                "(assignment.owner > 0).sum(dtype=torch.float32), ",
            ),
        ],
        "ignored_entries_get_exactly_no_gradient_and_all_others_some": [
            ("assignment.ignored, background)", "None, outputs.background(None))"),
        ],
        "lambda_scales_the_anchor_free_losses": [
            ("divisor = normalizer / config.af_weight", "divisor = normalizer"),
        ],
        "the_reference_divides_by_the_valid_cells_and_at_least_one_an_image_where_nothing_is_positive": [
            ("valid.sum(1).clamp(min=1)", "valid.sum(1)"),
        ],
        "positives_divide_both_losses_and_without_any_each_convention_has_its_own_divisor": [
            ('config.rules.no_positive_normalizer == "cells"', "False"),
        ],
    },
}
