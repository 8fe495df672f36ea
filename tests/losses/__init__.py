def value_and_gradient(loss, student, *others):
    """Return the value of a loss and its gradient for the student, and check that both are finite."""
    student = student.clone().requires_grad_()
    value = loss(student, *others)
    value.backward()
    assert value.isfinite()
    assert student.grad.isfinite().all()
    return value, student.grad
