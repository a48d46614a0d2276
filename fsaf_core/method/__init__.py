"""The paper: regions, losses, feature selection and label assignment, as functions on tensors."""
